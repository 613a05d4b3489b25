"""The fairness study's search ends at the highest rate that holds, and says between which two."""

from __future__ import annotations

import pytest

from benchmarks.fairness import STEP, crossing, next_place


@pytest.mark.parametrize("edge", [-30, -7, 0, 5])
def test_the_search_finds_the_two_places_between_which_a_share_falls(edge: int) -> None:
    shares: dict[int, float] = {}
    place = next_place(shares, 0.9, guess=-4)
    while place is not None:
        assert place not in shares
        shares[place] = 1.0 if place <= edge else 0.8
        place = next_place(shares, 0.9, guess=-4)
    assert crossing(shares, 0.9) == pytest.approx(STEP ** (edge + 0.5))


def test_no_crossing_is_claimed_where_a_side_was_not_seen() -> None:
    assert crossing({}, 0.9) is None
    assert crossing({3: 0.95}, 0.9) is None
    assert crossing({3: 0.95, 5: 0.5}, 0.9) is None
    assert crossing({3: 0.5}, 0.9) is None
