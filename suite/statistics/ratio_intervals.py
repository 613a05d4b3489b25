"""The interval of a ratio from the intervals of its two numbers."""

from __future__ import annotations

from math import exp, inf, log, sqrt

from suite.statistics.quantiles import Interval


def combined_ratio(
    value: float,
    interval: Interval,
    base: float,
    base_interval: Interval,
    correlation: float = 0.0,
) -> Interval:
    """Returns the interval of value / base from the two intervals: their distances a and b on the
    log scale combined as √(a² + b² − 2 · correlation · a · b) (MOVER, Zou & Donner 2008). An end
    that nothing bounds is open. A value of 0, whose logarithm tells nothing, gets the ends that lie
    furthest apart."""
    if value == 0:
        if interval.high is None or not base_interval.low:
            return Interval(low=0.0, high=None)
        return Interval(low=0.0, high=interval.high / base_interval.low)
    ratio = value / base
    below = _log_distance(
        _log_ratio(value, interval.low), _log_ratio(base_interval.high, base), correlation
    )
    above = _log_distance(
        _log_ratio(interval.high, value), _log_ratio(base, base_interval.low), correlation
    )
    return Interval(
        low=None if below == inf else ratio * exp(-below),
        high=None if above == inf else ratio * exp(above),
    )


def _log_distance(one: float, other: float, correlation: float) -> float:
    """How far the end lies from the ratio; inf where either number's end is open."""
    if inf in (one, other):
        return inf
    return sqrt(max(0.0, one**2 + other**2 - 2 * correlation * one * other))


def _log_ratio(large: float | None, small: float | None) -> float:
    if large is None or small is None or small <= 0:
        return inf
    return max(0.0, log(large / small))
