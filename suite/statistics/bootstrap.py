"""Block bootstrap: resamples of clusters, and the percentiles that they give.

A resample draws as many clusters as there are, with replacement; it is kept as how often each one
was drawn. Two engines on the same plan are resampled with the same draws (paired), so what the
conversations do to both alike cancels in their ratio. The seed is fixed: the same records always
give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt

import numpy as np

from suite.statistics.arrays import Floats, Ints
from suite.statistics.intervals import Clusters, effective_samples
from suite.statistics.quantiles import CONFIDENCE_RATIO, Interval, exact_fraction

NUM_RESAMPLES = 1000
SEED = 20_260_601
NUM_CANDIDATES = 256  # order statistics among which a resampled percentile is looked for
NUM_ERRORS = 6.0  # they reach so many standard errors to both sides
CHUNK = 1 << 21  # samples, or drawn clusters, looked at together
_TAIL = (1 - CONFIDENCE_RATIO) / 2


@lru_cache(maxsize=2)
def draws(num_clusters: int) -> Floats:
    """Returns how often each cluster was drawn, [NUM_RESAMPLES, num_clusters]."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    counts = np.empty((NUM_RESAMPLES, num_clusters))
    num_together = max(1, CHUNK // num_clusters)
    for first in range(0, NUM_RESAMPLES, num_together):
        rows = counts[first : first + num_together]
        drawn = rng.integers(num_clusters, size=rows.shape)
        drawn += num_clusters * np.arange(len(rows))[:, None]  # each resample counts for itself
        rows[:] = np.bincount(drawn.ravel(), minlength=rows.size).reshape(rows.shape)
    return counts


def percentile_draws(
    values: Floats, clusters: Clusters, rows: Ints, counts: Floats, levels: Sequence[float]
) -> Floats:
    """Returns the mean of these quantiles of each resample, [NUM_RESAMPLES], NaN where it drew no
    sample. `rows`: which column of `counts` each cluster is. Only order statistics around the
    observed one are tried."""
    candidates = _candidates(values, clusters, levels)
    # 1. How many samples of each cluster are at most each candidate.
    below = _num_below(values, clusters, candidates)
    # 2. The same of each resample: whole numbers, so the sums are exact in any order.
    mine = _columns(counts, rows)
    num_below, num = mine @ below, mine @ clusters.sizes
    # 3. The first candidate with at least the level of the resample at or below it.
    found = np.zeros(len(counts))
    for level in levels:
        exact = exact_fraction(level)
        is_enough = num_below * exact.denominator >= exact.numerator * num[:, None]
        first = np.where(is_enough.any(axis=1), is_enough.argmax(axis=1), len(candidates) - 1)
        found += candidates[first] / len(levels)
    return np.where(num > 0, found, np.nan)


def levels_around(values: Floats, clusters: Clusters, q: float) -> list[float]:
    """Returns q and levels within a standard error of it. The resamples of one order statistic jump
    from sample to sample and so spread too far; a mean over neighbours does not (kernel quantiles,
    Sheather & Marron 1990)."""
    error = _standard_error(values, clusters, q)
    return [min(1.0, max(0.0, q + step * error)) for step in (-1.0, -0.5, 0.0, 0.5, 1.0)]


def _standard_error(values: Floats, clusters: Clusters, q: float) -> float:
    """The standard error of the share of samples that are at most the q-quantile."""
    rank = min(len(values) - 1, int(q * len(values)))
    middle = np.partition(values, rank)[rank]
    effective = effective_samples(clusters.sums(values <= middle), clusters.sizes)
    return sqrt(q * (1 - q) / max(1.0, effective))


def _num_below(values: Floats, clusters: Clusters, candidates: Floats) -> Floats:
    """Counts each cluster's samples that are at most each candidate, [num_clusters,
    num_candidates]; a stretch of samples at a time, for memory's sake."""
    width = len(candidates) + 1
    cells = np.zeros(len(clusters) * width, dtype=np.int64)
    for first in range(0, len(values), CHUNK):
        stretch = slice(first, first + CHUNK)
        place = np.searchsorted(candidates, values[stretch], side="left")
        place += clusters.of_sample[stretch].astype(np.int64) * width
        cells += np.bincount(place, minlength=len(cells))
    return cells.reshape(len(clusters), width).cumsum(axis=1)[:, :-1].astype(np.float64)


def _columns(counts: Floats, rows: Ints) -> Floats:
    return counts if len(rows) == counts.shape[1] else counts[:, rows]


def _candidates(values: Floats, clusters: Clusters, levels: Sequence[float]) -> Floats:
    """Picks at most NUM_CANDIDATES samples around the quantile, ascending."""
    ascending, num, q = np.sort(values), len(values), levels[len(levels) // 2]
    error = _standard_error(values, clusters, q)
    reach = NUM_ERRORS * error + 2 * error**2 / (q * (1 - q))
    low, high = max(0.0, q - reach) * (num - 1), min(1.0, q + reach) * (num - 1)
    ranks = np.unique(np.linspace(low, high, NUM_CANDIDATES).round().astype(np.int64))
    return np.unique(ascending[ranks])


def interval_of(resampled: Floats) -> Interval | None:
    """Returns the middle 95 % of the resamples; None where one of them has no number."""
    if not len(resampled) or not np.isfinite(resampled).all():
        return None
    low, high = np.quantile(resampled, [_TAIL, 1 - _TAIL], method="inverted_cdf")
    return Interval(low=float(low), high=float(high))
