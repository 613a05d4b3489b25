"""Bars of the timeline stand where the turns were."""

from __future__ import annotations

from reports.sections import (
    timeline,
)
from reports.sections.timeline import Bar


def bar(gap_s: float, lane: int = 0) -> Bar:
    return Bar(
        lane=lane,
        scheduled_at=1.0,
        first_token_at=3.0,
        last_token_at=7.0,
        longest_gap_s=gap_s,
        label="c0",
    )


def test_a_timeline_bar_begins_at_the_plan_and_waits_until_the_first_token():
    waiting, streaming, *_ = timeline.turn_timeline([bar(0.5)], [], 1, (0.01, 1.0)).data
    assert (waiting.base[0], waiting.x[0]) == (1.0, 2.0)
    assert (streaming.base[0], streaming.x[0]) == (3.0, 4.0)


def test_longer_gaps_are_brighter():
    bars = [bar(0.01), bar(0.1), bar(1.0)]
    figure = timeline.turn_timeline(bars, [], 1, (0.01, 1.0))
    shades = [
        sum(int(part) for part in shade[4:-1].split(",")) for shade in figure.data[1].marker.color
    ]
    assert shades == sorted(shades)
    assert len(set(shades)) == 3
