"""How far repeats lie apart, alone and as ratios: what no resampling within a run can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log, sqrt
from typing import Any

import numpy as np

from suite.judging.catalogue import METRICS, Metric, look_up
from suite.statistics.intervals import as_json, between_runs_interval, student_t
from suite.statistics.quantiles import Interval

MIN_REPEATS = 3  # of each side: two would leave t a single degree of freedom
MIN_DEGREES = 2


def between_runs(repeats: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Per metric (with `[CLASS]`) the value of each repeat and the interval of their mean; None
    unless two repeats recorded anything. Repeats without a value are left out."""
    recorded = [each for each in repeats if each["counts"]["recorded"]]
    if len(recorded) < 2:
        return None
    found = {}
    for metric in _metrics(recorded[0]["by_class"]):
        values = [look_up(each, metric).value for each in recorded]
        known = [each for each in values if each is not None]
        if known:
            interval = between_runs_interval(np.array(known))
            found[metric.label] = {"values": known, "interval": as_json(interval)}
    return found


def paired_ratio_interval(values: Sequence[float], base: Sequence[float]) -> Interval | None:
    """Of one run, whose repeats are interleaved A B A B: of the mean of log(value / base) over the
    pairs. None below three, and where anything is 0."""
    if len(values) != len(base) or not _are_positive(values, base):
        return None
    logs = np.array([log(a / b) for a, b in zip(values, base, strict=True)])
    return _exp(between_runs_interval(logs))


def unpaired_ratio_interval(values: Sequence[float], base: Sequence[float]) -> Interval | None:
    """Of two runs: Student's for two samples on the log scale, with one spread for both, so that a
    single repeat can be held against a baseline of three. None with fewer than two degrees of
    freedom, and where anything is 0."""
    num_degrees = len(values) + len(base) - 2
    if not values or not base or num_degrees < MIN_DEGREES or not _are_positive(values, base):
        return None
    logs, base_logs = np.log(values), np.log(base)
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in (logs, base_logs))
    spread = sqrt(squares / num_degrees * (1 / len(values) + 1 / len(base)))
    half = student_t(num_degrees) * spread
    middle = float(logs.mean() - base_logs.mean())
    return _exp(Interval(low=middle - half, high=middle + half))


def _are_positive(*samples: Sequence[float]) -> bool:
    return all(each > 0 for sample in samples for each in sample)


def _exp(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    assert interval.low is not None and interval.high is not None
    return Interval(low=exp(interval.low), high=exp(interval.high))


def _metrics(user_classes: Sequence[str]) -> list[Metric]:
    whole = [Metric(name) for name in METRICS]
    return whole + [
        Metric(metric.name, user_class)
        for user_class in user_classes
        for metric in whole
        if metric.can_have_class
    ]
