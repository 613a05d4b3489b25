"""What a search says of where it ended."""

from __future__ import annotations

import pytest

from suite.measuring.limits import Limits
from suite.sweep.brackets import seed_capacity, without_faults
from suite.sweep.capacity_result import RateSeen
from suite.sweep.crossing import Crossing
from suite.sweep.lattice import Lattice

LATTICE = Lattice(tolerance_ratio=1.0)
LIMITS = Limits(
    num_missed=3,
    late_ratio=1.0,
    failed_ratio=0.0,
    queueing_ratio=None,
    preemption_ratio=None,
    num_preemptions=None,
    is_driver_valid=True,
    is_pace_kept=None,
)


@pytest.mark.parametrize(
    ("holds", "fails", "note"),
    [
        (1, 2, None),
        (1, None, "2 conversations per second or more"),
        (None, 2, "not even 4 conversations per second"),
        (None, None, "of no rate it could be told whether the target holds"),
    ],
)
def test_a_bracket_that_is_open_says_on_which_side(
    holds: int | None, fails: int | None, note: str | None
) -> None:
    crossing = Crossing(holds=holds, fails=fails)
    assert seed_capacity(7, crossing, LATTICE, why_open=None).note == note
    why = "the budget was used up"
    told = seed_capacity(7, crossing, LATTICE, why_open=why).note
    assert told == (why if note is None else f"{note}; {why}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"is_driver_valid": False}, "at 4 conversations per second the driver was late itself"),
        ({"is_pace_kept": False}, "this machine did not keep the GPU's pace, so the upper end is"),
    ],
)
def test_an_upper_end_that_is_not_the_engines_is_said(
    changes: dict[str, object], words: str | None
) -> None:
    capacity = seed_capacity(7, Crossing(holds=1, fails=2), LATTICE, why_open=None)
    seen = RateSeen(
        rate=4.0,
        answer="fails",
        is_finished=True,
        num_users=30,
        num_within_slo=0,
        interval=(0.0, 0.5),
        num_turns=30,
        duration_s=1.0,
        limits=LIMITS.model_copy(update=changes),
    )
    note = without_faults(capacity, [seen]).note
    assert note is None if words is None else (note is not None and words in note)
    elsewhere = seen.model_copy(update={"rate": 8.0})
    assert without_faults(capacity, [elsewhere]).note is None
