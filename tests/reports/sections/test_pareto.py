"""The front of runs that no other beats in both directions."""

from __future__ import annotations

from reports.sections.pareto import pareto_front


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    points = [(1.0, 0.9), (2.0, 0.9), (3.0, 0.2), (2.5, 0.1), (0.5, 1.0)]
    assert pareto_front(points) == [4, 1, 2]
