"""Cells of the heat map against the SLO."""

from __future__ import annotations

import numpy as np

from reports.sections import (
    heat_map,
)
from reports.sections.heat_map import HeatMap


def test_a_heat_map_is_even_about_the_slo_and_marks_what_has_no_answer():
    view = HeatMap(
        repeat=1,
        user_id=("u1", "u2"),
        user_class=("x", "x"),
        used=np.array([[1.0, 4.0], [0.5, np.nan]]),
        is_missed=np.array([[False, False], [False, True]]),
        num_users=2,
        num_turns=2,
    )
    heat, missed = heat_map.slo_heat_map(view).data
    assert heat.z[0].tolist() == [0.0, 2.0]
    assert heat.z[1][0] == -1.0
    assert (heat.zmin, heat.zmax) == (-3, 3)
    assert (list(missed.x), list(missed.y)) == ([2], [1])
    assert heat.text[0][1] == "u1 (x), turn 2: 4× its SLO, missed"
