"""Lateness weighed: between which values a number lies had no turn been sent late, and an interval
with that allowed for.

What is judged stands where the wider interval says the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import metrics_of
from suite.judging.look_up import look_up
from suite.measuring.engine_numbers import engine_numbers
from suite.measuring.engine_run import EngineRun
from suite.measuring.lateness import lags, quicker_and_slower
from suite.statistics.quantiles import Interval

Json = dict[str, Any]
NOTE = "turns were sent late (see the warnings), by enough to turn this"
ANY = Interval(low=None, high=None)


def lateness_of(engine: EngineRun, run: Path, numbers: Json) -> Json | None:
    """Returns, for an engine of which a driver was late, `max_s` and between which values each
    metric lies (`ranges`, by gate name; both ends None: nobody can tell); None for others.
    `numbers`: the engine's own."""
    worlds = quicker_and_slower(engine)
    if worlds is None:
        return None
    late = [trial.repeat for trial in engine.trials if trial.driver and trial.driver.is_late]
    moved = [numbers, *(engine_numbers(world, run) for world in worlds)]
    ranges = {}
    for metric in metrics_of([each.name for each in engine.plan.user_classes]):
        if not metric.row.is_timed:
            continue
        values = [look_up(each, metric).value for each in moved]
        known = [each for each in values if each is not None]
        if known:
            ranges[metric.label] = _range(metric.row, known, has_all=len(known) == len(values))
    return {"max_s": float(np.max(lags(engine.all_turns, late), initial=0.0)), "ranges": ranges}


def _range(row: Row, values: list[float], *, has_all: bool) -> list[float | None]:
    low, high = min(values), max(values)
    if has_all and (row.is_monotone or low == high):
        return [low, high]
    return [None, None]


def allowing(interval: Interval | None, value: float, late: Interval, row: Row) -> Interval:
    """Returns the interval (None: the number alone) with its ends as far out as lateness could
    move the number; of a share no further than it can be."""
    low, high = (value, value) if interval is None else (interval.low, interval.high)
    most = 1.0 if row.is_never_above_1 else float("inf")
    return Interval(
        low=None if low is None or late.low is None else max(0.0, low + late.low - value),
        high=None if high is None or late.high is None else min(most, high + late.high - value),
    )


def ratio_range(
    value: float, late: Interval | None, base: float, base_late: Interval | None
) -> Interval | None:
    """Returns by which factors lateness could change value / base; None where neither was late."""
    if late is None and base_late is None:
        return None
    mine = late or Interval(low=value, high=value)
    other = base_late or Interval(low=base, high=base)
    if min(value, base) <= 0 or None in (mine.low, mine.high, other.low, other.high):
        return ANY
    assert mine.low is not None and mine.high is not None
    assert other.low is not None and other.high is not None
    return Interval(
        low=mine.low / value * (base / other.high),
        high=mine.high / value * (base / other.low) if other.low > 0 else None,
    )


def allowing_factors(interval: Interval | None, ratio: float, late: Interval) -> Interval:
    """Returns a ratio's interval (None: the ratio alone) times the factors of `ratio_range`."""
    low, high = (ratio, ratio) if interval is None else (interval.low, interval.high)
    return Interval(
        low=None if low is None or late.low is None else low * late.low,
        high=None if high is None or late.high is None else high * late.high,
    )
