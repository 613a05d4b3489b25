"""Student's intervals between repeats: of a mean, on the scale of what it can be, and of ratios.

A mean ± t · standard error of three repeats soon reaches below 0 or above 100 %. So the distance is
taken on a scale that has no end where the number has one, and turned back: the log of what is never
below 0, the log-odds of a share. Where a repeat lies at such an end itself (no failure; all users
within SLO), which has no logarithm, it is the root, or the arcsine of the root: they reach the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import asin, exp, inf, log, pi, sin, sqrt

import numpy as np
from scipy import special

from suite.statistics.arrays import Floats
from suite.statistics.quantiles import CONFIDENCE_RATIO, Interval

MIN_REPEATS = 3  # of each side: two would leave t a single degree of freedom
MIN_DEGREES = 2
_TAIL = (1 - CONFIDENCE_RATIO) / 2
_ROUNDING = 1e-12  # of the mean: repeats that differ by less are alike
_MAX_EXPONENT = 700.0  # beyond, a float overflows


@lru_cache(maxsize=4096)
def student_t(num_degrees: float) -> float:
    """Returns the two-sided quantile at the stated confidence."""
    return float(special.stdtrit(num_degrees, 1 - _TAIL))


def _exp_of(end: float) -> float:
    return exp(max(-_MAX_EXPONENT, min(_MAX_EXPONENT, end)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """A scale on which distances are taken: `to` it and its slope at a number, `back`, its ends."""

    to: Callable[[float], float]
    slope: Callable[[float], float]
    back: Callable[[float], float]
    low: float = -inf
    high: float = inf


_PLAIN = _Scale(to=float, slope=lambda _: 1.0, back=float)
_LOG = _Scale(to=log, slope=lambda mean: 1 / mean, back=_exp_of)
_ROOT = _Scale(to=sqrt, slope=lambda mean: 0.5 / sqrt(mean), back=lambda end: end**2, low=0.0)
_LOG_ODDS = _Scale(
    to=lambda mean: log(mean / (1 - mean)),
    slope=lambda mean: 1 / (mean * (1 - mean)),
    back=lambda end: float(special.expit(end)),
)
_ARCSINE = _Scale(
    to=lambda mean: asin(sqrt(mean)),
    slope=lambda mean: 0.5 / sqrt(mean * (1 - mean)),
    back=lambda end: sin(end) ** 2,
    low=0.0,
    high=pi / 2,
)


def mean_of_repeats_interval(values: Floats, *, is_share: bool = False) -> Interval | None:
    """Returns Student's interval of the mean of independent repeats, which holds the mean and
    nothing that it can not be: below 0 where no repeat is, above 1 for a share. None below three.
    """
    if len(values) < MIN_REPEATS:
        return None
    mean = float(values.mean())
    error = _error(values)
    if error <= _ROUNDING * abs(mean):
        return Interval(low=mean, high=mean)
    scale = _scale_of(values, is_share=is_share)
    half = student_t(len(values) - 1) * error * scale.slope(mean)
    middle = scale.to(mean)
    return Interval(
        low=min(mean, scale.back(max(scale.low, middle - half))),
        high=max(mean, scale.back(min(scale.high, middle + half))),
    )


def _scale_of(values: Floats, *, is_share: bool) -> _Scale:
    lowest, highest = float(values.min()), float(values.max())
    if lowest < 0:
        return _PLAIN
    if is_share and highest <= 1:
        return _LOG_ODDS if lowest > 0 and highest < 1 else _ARCSINE
    return _LOG if lowest > 0 else _ROOT


def paired_ratio_interval(values: Sequence[float], base: Sequence[float]) -> Interval | None:
    """Returns the interval of value / base over the pairs of one run, whose repeats are
    interleaved A B A B, on the log scale. None below three pairs, and where all of a side are 0."""
    if len(values) != len(base) or len(values) < MIN_REPEATS:
        return None
    logs = _logs(values, base)
    if logs is None:
        return None
    differences = logs[0] - logs[1]
    half = student_t(len(differences) - 1) * _error(differences)
    return _around(float(differences.mean()), half)


def unpaired_ratio_interval(values: Sequence[float], base: Sequence[float]) -> Interval | None:
    """Returns Student's interval for two samples on the log scale, with one spread for both, so
    that a single repeat can be held against a baseline of three. None with fewer than two degrees
    of freedom, and where all of a side are 0."""
    num_degrees = len(values) + len(base) - 2
    if not values or not base or num_degrees < MIN_DEGREES:
        return None
    logs = _logs(values, base)
    if logs is None:
        return None
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in logs)
    spread = sqrt(squares / num_degrees * (1 / len(values) + 1 / len(base)))
    return _around(float(logs[0].mean() - logs[1].mean()), student_t(num_degrees) * spread)


def _logs(*sides: Sequence[float]) -> list[Floats] | None:
    """Returns the logarithms of each side. Where some values are 0, which have none, what they are
    to the first order around the side's mean: log mean + value / mean − 1. None where a side has
    nothing above 0."""
    found = [np.asarray(side, dtype=np.float64) for side in sides]
    if any(side.min() < 0 or side.max() <= 0 for side in found):
        return None
    if all(side.min() > 0 for side in found):
        return [np.log(side) for side in found]
    return [log(side.mean()) + side / side.mean() - 1 for side in found]


def _error(values: Floats) -> float:
    return float(values.std(ddof=1)) / sqrt(len(values))


def _around(middle: float, half: float) -> Interval:
    return Interval(low=_exp_of(middle - half), high=_exp_of(middle + half))
