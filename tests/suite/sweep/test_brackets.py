"""What a search says of where it ended."""

from __future__ import annotations

import pytest

from suite.sweep.brackets import seed_capacity
from suite.sweep.crossing import Crossing
from suite.sweep.lattice import Lattice

LATTICE = Lattice(tolerance_ratio=1.0)


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
