"""Headroom and the fluidity index against known answers and a slow twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.measuring.attainment import attaining_turns
from suite.measuring.deadlines import _deadlines_of, deadlines, headroom
from suite.records.turn_table import read_turns
from tests.suite.measuring.test_metrics import ALL_WELL, PLAN, record, run_of


def slow_deadlines(arrivals, ttft_s, tbt_s):
    """Etalon's rule, chunk by chunk: slack is carried on, a miss starts anew."""
    met, missed, slack, before = 0, 0, 0.0, 0.0
    for number, at in enumerate(arrivals):
        due = ttft_s if number == 0 else tbt_s
        took = at - before
        before = at
        if took <= due + slack:
            met, slack = met + 1, slack + due - took
        else:
            missed, slack = missed + 1 + int((took - due - slack) // tbt_s), 0.0
    return met, missed


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 20), st.integers(1, 8))
def test_deadlines_equal_those_counted_chunk_by_chunk(steps, ttft, tbt):
    """In eighths, so that every sum is exact."""
    arrivals = np.cumsum(steps) / 8
    assert _deadlines_of(arrivals, ttft / 8, tbt / 8) == slow_deadlines(
        arrivals.tolist(), ttft / 8, tbt / 8
    )


def test_tokens_that_a_failed_turn_still_lacked_are_missed(tmp_path):
    cut = replace(record("c1", 0, 0.0, 0.0, [0.25]), error="reset", planned_output_tokens=3)
    run = run_of(tmp_path, [cut, ALL_WELL[0]])
    met, missed = deadlines(read_turns([(1, run / "mine" / "1")]), PLAN.user_classes)
    assert (met.tolist(), missed.tolist()) == ([1, 3], [2, 0])


def test_headroom_is_what_a_turn_did_not_need_of_the_tighter_promise(tmp_path):
    """quick: ttft 0.5 s, tbt 0.2 s at P99. c0: 0.25/0.5 and 0.125/0.2; c1 misses its 0.5 s."""
    late = record("c1", 0, 0.0, 0.0, [0.75, 0.8])
    run = run_of(tmp_path, [ALL_WELL[0], late])
    turns = read_turns([(1, run / "mine" / "1")])
    attains = attaining_turns(turns, PLAN.user_classes)
    found = headroom(turns, attains, PLAN.user_classes)
    assert found[turns.conversation_id == "c0"] == pytest.approx([1 - 0.125 / 0.2])
    assert found[turns.conversation_id == "c1"] == [0.0]
