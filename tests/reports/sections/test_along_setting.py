"""Marks along a sweep's setting: engines stand beside each other, none over another's value."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.drawing.palette import looks
from reports.sections.along_setting import along_setting, is_log
from reports.sections.sweep_points import Place, Sweep, SweepPoint
from reports.sections.swept_numbers import USERS

ENGINES = ("a", "b", "c", "d")


def sweep_of(places: list[float]) -> Sweep:
    points = [
        SweepPoint(
            engine=engine,
            at=Place(place=place, label=f"{place:g}", panel=""),
            run=Path("run"),
            numbers={"slo": {"users_within_slo_ratio": 0.5}},
        )
        for engine in ENGINES
        for place in places
    ]
    return Sweep(
        setting="arrivals.rate",
        others=(),
        panels=("",),
        ticks=tuple((place, f"{place:g}") for place in places),
        points=tuple(points),
        cited=(),
    )


@pytest.mark.parametrize(
    ("places", "has_log_axis"),
    [
        ([1.0, 2.0, 4.0], False),
        ([1.3**power for power in range(12)], True),
        ([1.0, 1.01, 4.0], False),
    ],
)
def test_engines_with_one_number_stand_beside_each_other(
    places: list[float], has_log_axis: bool
) -> None:
    sweep = sweep_of(places)
    assert is_log(sweep) == has_log_axis
    figure = along_setting(sweep, looks(ENGINES), USERS, panel="")
    marks = [list(trace.x) for trace in figure.data if trace.mode == "markers"]
    assert [list(trace.x) for trace in figure.data if trace.mode == "lines"] == marks
    for index, place in enumerate(places):
        here = [each[index] for each in marks]
        assert here == sorted(set(here))  # in the engines' order, none on another
        assert min(here) < place < max(here)
    highest, lowest = (
        [max(at) for at in zip(*marks, strict=True)],
        [min(at) for at in zip(*marks, strict=True)],
    )
    assert all(before < after for before, after in zip(highest, lowest[1:], strict=False))


def test_one_engine_stands_at_the_value_itself() -> None:
    sweep = sweep_of([1.0, 2.0])
    alone = Sweep(
        setting=sweep.setting,
        others=(),
        panels=sweep.panels,
        ticks=sweep.ticks,
        points=tuple(sweep.of("a")),
        cited=(),
    )
    figure = along_setting(alone, looks(["a"]), USERS, panel="")
    assert list(figure.data[0].x) == [1.0, 2.0]
