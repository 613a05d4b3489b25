"""What the plug-in counts and vLLM does not, in a small file that can be read at any time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

COUNTERS = ("num_priority_updates", "num_displacements", "num_recomputed_tokens")


class Counters:
    """Counters kept in mapped memory: whoever reads sees the latest, also after a kill."""

    def __init__(self, path: Path) -> None:
        partial = path.with_name(path.name + ".partial")
        self._values: npt.NDArray[np.int64] = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.int64, shape=(len(COUNTERS),)
        )
        partial.replace(path)  # readers find it whole or not at all

    def add(self, name: str, number: int) -> None:
        self._values[COUNTERS.index(name)] += number


def read_counters(path: Path) -> dict[str, int]:
    """Returns the counters by name; none where no plug-in has begun to count."""
    try:
        values = np.load(path)
    except FileNotFoundError:
        return {}
    return {name: int(value) for name, value in zip(COUNTERS, values, strict=True)}
