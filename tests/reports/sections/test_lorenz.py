"""Lorenz curves and their Gini."""

from __future__ import annotations

import numpy as np

from reports.drawing.palette import looks
from reports.sections import (
    lorenz,
)
from reports.sections.lorenz import Lorenz

LOOK = looks(["a", "b"])


def test_lorenz_curves_name_their_gini():
    curve = Lorenz(
        user_ratio=np.array([0.0, 0.5, 1.0]), share_ratio=np.array([0.0, 0.25, 1.0]), gini=0.25
    )
    even, line = lorenz.lorenz_curves({"a": curve}, LOOK).data
    assert list(even.y) == [0, 1]
    assert line.name == "a, Gini 0.25"
    assert list(line.y) == [0.0, 0.25, 1.0]
