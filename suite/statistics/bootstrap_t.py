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

from suite.statistics.arrays import Floats
from suite.statistics.bootstrap import draws
from suite.statistics.quantiles import CONFIDENCE_RATIO, Interval
from suite.statistics.student import student_t

MAX_ERRORS = 100.0  # an end further away than so many standard errors bounds nothing
MAX_ROUNDING = 1e-12  # of a cluster's influence, of the terms that cancel in it
MIN_DEGREES = 4.0  # of freedom: below, few clusters make up the spread
_TAIL = (1 - CONFIDENCE_RATIO) / 2
# Totals [n, K] → the statistic [n] and its slope by each total [n, K]. A ratio of totals: it does
# not change when all of them are multiplied by the same number.
Statistic = Callable[[Floats], tuple[Floats, Floats]]


def bootstrap_t(sums: Floats, statistic: Statistic) -> Interval | None:
    """Returns the interval of a statistic of totals; `sums`: what each cluster adds to each total,
    [num_clusters, K]. None below two clusters."""
    if len(sums) < 2:
        return None
    value, slope = statistic(sums.sum(axis=0, keepdims=True))
    influences = sums @ slope[0]
    rounding = MAX_ROUNDING * (np.abs(sums) @ np.abs(slope[0]))
    influences[np.abs(influences) <= rounding] = 0.0
    drawn, errors = _evaluate(sums, draws(len(sums)), statistic)
    return studentised_interval(float(value[0]), influences, drawn, errors)


def studentised_interval(
    value: float, influences: Floats, drawn: Floats, errors: Floats
) -> Interval:
    """Returns the interval of a value from how far resamples lie off in their own standard errors.

    `influences` of each cluster on the value, [num_clusters]; `drawn` and `errors`: each resample's
    value and standard error, [NUM_RESAMPLES]. A point where no cluster has any influence. Ends are
    open where too many resamples have no spread; and on the side of a few clusters that make up the
    spread alone, for how many more of their kind there are, so few do not tell."""
    num_clusters = len(influences)
    error = float(standard_errors(influences @ influences, num_clusters))
    if error == 0:
        return Interval(low=value, high=value)
    errors = np.where(errors > 1e-9 * error, errors, 0.0)  # no spread but rounding
    with np.errstate(invalid="ignore", divide="ignore"):
        studentised = (drawn - value) / errors
    ends = np.quantile(
        np.where(np.isnan(studentised), inf, studentised),
        [1 - _TAIL, _TAIL],
        method="inverted_cdf",
    )
    # Wider, as Student's t is wider than the normal distribution: the error is an estimate too.
    num_degrees = _num_degrees(influences)
    step = error * student_t(num_degrees) / student_t(inf)
    low, high = (float(value - end * step) if abs(end) < MAX_ERRORS else None for end in ends)
    if num_degrees >= MIN_DEGREES:
        return Interval(low=low, high=high)
    is_above = float((influences**3).sum()) > 0
    return Interval(low=low if is_above else None, high=None if is_above else high)


def standard_errors(squares: Floats, num_clusters: int) -> Floats:
    """Returns standard errors from Σ of the squared influences of the clusters."""
    found: Floats = np.sqrt(np.maximum(squares, 0) * num_clusters / (num_clusters - 1))
    return found


def _num_degrees(influences: Floats) -> float:
    """Returns a variance's degrees of freedom, 2 / its squared relative error (Satterthwaite 1946);
    at most C − 1, as clusters that are alike have."""
    squares = np.square(influences / np.abs(influences).max())
    excess = float(squares @ squares) / float(squares.sum()) ** 2 - 1 / len(squares)
    return max(1.0, min(len(squares) - 1.0, 2 / max(excess, 1e-300)))


def _evaluate(sums: Floats, counts: Floats, statistic: Statistic) -> tuple[Floats, Floats]:
    """The statistic and its standard error (delta method over clusters) of each resample."""
    num, num_totals = sums.shape
    products = (sums[:, :, None] * sums[:, None, :]).reshape(num, num_totals**2)
    squares = (counts @ products).reshape(-1, num_totals, num_totals)
    with np.errstate(invalid="ignore", divide="ignore"):
        found, slope = statistic(counts @ sums)
        variance = np.einsum("rk,rkl,rl->r", slope, squares, slope)
    return found, standard_errors(variance, num)


def mean_interval(sums: Floats, sizes: Floats) -> Interval | None:
    """Returns the interval of Σ sums / Σ sizes over clusters, on the log scale where all sums are
    above 0."""
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


def mean_ratio_interval(totals: Floats, base: Floats) -> Interval | None:
    """Returns the interval of one mean / another over the same clusters, paired, on the log scale:
    what a cluster does to both cancels. `totals` and `base`: what each cluster adds, [num_clusters,
    2], to the number of samples and to their sum. None where a mean is not above 0."""
    both = np.concatenate([totals, base], axis=1)
    both = both[(both[:, [0, 2]] > 0).any(axis=1)]  # one without samples is no cluster of a mean
    units = np.abs(both).max(axis=0, initial=0.0)
    if not (both.sum(axis=0) > 0).all():
        return None
    found = bootstrap_t(both / units, _log_ratio_of_means)
    if found is None:
        return None
    scale = units[1] / units[0] / (units[3] / units[2])
    low, high = (None if end is None else exp(end) * scale for end in (found.low, found.high))
    return Interval(low=low, high=high)


def _ratio(totals: Floats) -> tuple[Floats, Floats]:
    below, above = totals.T
    return above / below, np.stack([-above / below**2, 1 / below], axis=1)


def _log_ratio(totals: Floats) -> tuple[Floats, Floats]:
    below, above = totals.T
    return np.log(above / below), np.stack([-1 / below, 1 / above], axis=1)


def _log_ratio_of_means(totals: Floats) -> tuple[Floats, Floats]:
    (value, slope), (base, base_slope) = _log_ratio(totals[:, :2]), _log_ratio(totals[:, 2:])
    return value - base, np.concatenate([slope, -base_slope], axis=1)
