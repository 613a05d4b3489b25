"""Cells of the heat map against the SLO."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from reports.sections import (
    heat_map,
)
from reports.sections.heat_map import HeatMap
from suite.measuring.attainment import attaining_turns, judge_users, planned_users, turns_not_due
from suite.records.turn_table import read_turns
from tests.suite.virtual.test_player import plan_of, played


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


def test_turns_that_were_not_due_within_the_time_are_not_shown_as_missed(tmp_path: Path):
    plan = plan_of(12, arrivals={"process": "closed", "concurrency": 1})
    longer = tuple(each for each in plan.conversations if len(each.turns) > 1)
    first, plan = longer[0], replace(plan, conversations=longer, priorities=None)
    # It is cut after its first turn, so nobody has as many as planned
    plan = replace(plan, closed_duration_s=1e-6)
    played(plan, tmp_path)
    turns, users = read_turns([(1, tmp_path)]), planned_users(plan)
    attains = attaining_turns(turns, plan.user_classes)
    not_due = turns_not_due(plan, users, turns, [1], {1})
    judged = judge_users(users, turns, attains, attains, [1], num_not_due=not_due)
    view = heat_map.heat_map(turns, judged, plan, 1)
    assert view is not None and view.user_id == (first.user_id,)
    assert (view.used.shape, view.is_missed.any()) == ((1, 1), False)
