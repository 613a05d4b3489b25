"""Student's intervals between repeats: of a mean, and of ratios on the log scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, log, sqrt

import numpy as np
from scipy import special

from suite.statistics.arrays import Floats
from suite.statistics.quantiles import CONFIDENCE_RATIO, Interval

MIN_REPEATS = 3  # of each side: two would leave t a single degree of freedom
MIN_DEGREES = 2
_TAIL = (1 - CONFIDENCE_RATIO) / 2


@lru_cache(maxsize=4096)
def student_t(num_degrees: float) -> float:
    """Returns the two-sided quantile at the stated confidence."""
    return float(special.stdtrit(num_degrees, 1 - _TAIL))


def mean_of_repeats_interval(values: Floats) -> Interval | None:
    """Returns the mean of independent repeats ± t · standard error; None below three."""
    if len(values) < MIN_REPEATS:
        return None
    half = student_t(len(values) - 1) * float(values.std(ddof=1)) / sqrt(len(values))
    mean = float(values.mean())
    return Interval(low=mean - half, high=mean + half)


def paired_ratio_interval(values: Sequence[float], base: Sequence[float]) -> Interval | None:
    """The interval of the mean of log(value / base) over the pairs of one run, whose repeats are
    interleaved A B A B. None below three pairs, and where anything is 0."""
    if len(values) != len(base) or not _are_positive(values, base):
        return None
    logs = np.array([log(a / b) for a, b in zip(values, base, strict=True)])
    return _exp(mean_of_repeats_interval(logs))


def unpaired_ratio_interval(values: Sequence[float], base: Sequence[float]) -> Interval | None:
    """Student's interval for two samples on the log scale, with one spread for both, so that a
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
