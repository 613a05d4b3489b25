"""Bootstrap-t: intervals of means and of what is made of means, where values are skewed.

Means of skewed times come out too low more often than too high, and when they do, their spread
looks too small as well; so mean ± t · standard error holds the truth too rarely. How far an
estimate lies off in units of its own standard error is learnt from resamples instead (Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, ch. 12.5).
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf

import numpy as np

from suite.bootstrap import draws
from suite.intervals import student_t
from suite.quantiles import CONFIDENCE_RATIO, Floats, Interval

MAX_ERRORS = 100.0  # an end further away than so many standard errors bounds nothing
_TAIL = (1 - CONFIDENCE_RATIO) / 2
# Totals [n, K] → the statistic [n] and its slope by each total [n, K]. A ratio of totals: it does
# not change when all of them are multiplied by the same number.
Statistic = Callable[[Floats], tuple[Floats, Floats]]


def bootstrap_t(sums: Floats, statistic: Statistic) -> Interval | None:
    """`sums`: what each cluster adds to each total, [num_clusters, K]. An end is open where too
    many resamples have no spread; a point where the clusters have none; None below two clusters."""
    num_clusters = len(sums)
    if num_clusters < 2:
        return None
    values, errors = _evaluate(sums, np.ones((1, num_clusters)), statistic)
    value, error = float(values[0]), float(errors[0])
    if error == 0:
        return Interval(low=value, high=value)
    drawn, its_errors = _evaluate(sums, draws(num_clusters), statistic)
    its_errors = np.where(its_errors > 1e-9 * error, its_errors, 0.0)  # no spread but rounding
    with np.errstate(invalid="ignore", divide="ignore"):
        studentised = (drawn - value) / its_errors
    ends = np.quantile(
        np.where(np.isnan(studentised), inf, studentised),
        [1 - _TAIL, _TAIL],
        method="inverted_cdf",
    )
    # Wider, as Student's t is wider than the normal distribution: for few clusters.
    step = error * student_t(num_clusters - 1) / student_t(inf)
    low, high = (float(value - end * step) if abs(end) < MAX_ERRORS else None for end in ends)
    return Interval(low=low, high=high)


def _evaluate(sums: Floats, counts: Floats, statistic: Statistic) -> tuple[Floats, Floats]:
    """The statistic and its standard error (delta method over clusters) of each resample."""
    num, num_totals = sums.shape
    products = (sums[:, :, None] * sums[:, None, :]).reshape(num, num_totals**2)
    squares = (counts @ products).reshape(-1, num_totals, num_totals)
    with np.errstate(invalid="ignore", divide="ignore"):
        found, slope = statistic(counts @ sums)
        variance = num / (num - 1) * np.einsum("rk,rkl,rl->r", slope, squares, slope)
    return found, np.sqrt(np.maximum(variance, 0))


def mean_interval(sums: Floats, sizes: Floats) -> Interval | None:
    """Of Σ sums / Σ sizes over clusters, on the log scale where the mean is above 0."""
    if not len(sizes):
        return None
    unit = float(np.abs(sums).max()) or 1.0  # so that squares of tiny times do not vanish
    totals = np.stack([sizes, sums / unit], axis=1)
    is_positive = bool((sums > 0).all())
    found = bootstrap_t(totals, _log_ratio if is_positive else _ratio)
    if found is None:
        return None
    ends = [
        None if end is None else (exp(end) if is_positive else end) * unit
        for end in (found.low, found.high)
    ]
    return Interval(low=ends[0], high=ends[1])


def _ratio(totals: Floats) -> tuple[Floats, Floats]:
    below, above = totals.T
    return above / below, np.stack([-above / below**2, 1 / below], axis=1)


def _log_ratio(totals: Floats) -> tuple[Floats, Floats]:
    below, above = totals.T
    return np.log(above / below), np.stack([-1 / below, 1 / above], axis=1)
