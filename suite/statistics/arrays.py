"""The array types that records, statistics and measures are written in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int32]  # of turns and conversations: half the memory where tokens are many
Labels = Indices | Ints
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.object_]
