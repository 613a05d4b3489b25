"""Block bootstrap: what a statistic could have been had other conversations, or users, been drawn.

A resample draws as many clusters as there are, with replacement; it is kept as how often each one
was drawn. Two engines on the same plan are resampled with the same draws (paired), so what the
conversations do to both alike cancels in their ratio. The seed is fixed: the same records always
give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp

import numpy as np

from suite.attainment import Attainment
from suite.intervals import Clusters, Ints, effective_samples, student_t
from suite.quantiles import CONFIDENCE_RATIO, Interval, exact_fraction
from suite.turn_table import Floats

NUM_RESAMPLES = 1000
SEED = 20_260_601
NUM_CANDIDATES = 256  # order statistics among which a resampled percentile is looked for
NUM_ERRORS = 6.0  # they reach so many standard errors to both sides
CHUNK = 1 << 21  # samples looked at together
_TAIL = (1 - CONFIDENCE_RATIO) / 2


@lru_cache(maxsize=2)
def draws(num_clusters: int) -> Floats:
    """[NUM_RESAMPLES, num_clusters]: how often each cluster was drawn."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    counts = np.empty((NUM_RESAMPLES, num_clusters))
    for row in counts:
        drawn = rng.integers(num_clusters, size=num_clusters)
        row[:] = np.bincount(drawn, minlength=num_clusters)
    return counts


def percentile_draws(
    values: Floats, clusters: Clusters, rows: Ints, counts: Floats, q: float
) -> Floats:
    """[NUM_RESAMPLES]: the q-quantile of each resample, NaN where it drew no sample. `rows`: which
    column of `counts` each cluster is. Only order statistics around the observed one are tried."""
    candidates = _candidates(values, clusters, q)
    # 1. How many samples of each cluster are at most each candidate.
    below = _num_below(values, clusters, candidates)
    # 2. The same of each resample: whole numbers, so the sums are exact in any order.
    mine = _columns(counts, rows)
    num_below, num = mine @ below, mine @ clusters.sizes
    # 3. The first candidate with at least q of the resample at or below it.
    exact = exact_fraction(q)
    is_enough = num_below * exact.denominator >= exact.numerator * num[:, None]
    first = np.where(is_enough.any(axis=1), is_enough.argmax(axis=1), len(candidates) - 1)
    return np.where(num > 0, candidates[first], np.nan)


def _num_below(values: Floats, clusters: Clusters, candidates: Floats) -> Floats:
    """[num_clusters, num_candidates]; a stretch of samples at a time, for memory's sake."""
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


def _candidates(values: Floats, clusters: Clusters, q: float) -> Floats:
    """Ascending, at most NUM_CANDIDATES samples."""
    ascending, num = np.sort(values), len(values)
    middle = ascending[min(num - 1, int(q * num))]
    effective = effective_samples(clusters.sums(values <= middle), clusters.sizes)
    reach = NUM_ERRORS * float(np.sqrt(q * (1 - q) / max(1.0, effective))) + 2 / max(1.0, effective)
    low, high = max(0.0, q - reach) * (num - 1), min(1.0, q + reach) * (num - 1)
    ranks = np.unique(np.linspace(low, high, NUM_CANDIDATES).round().astype(np.int64))
    return np.unique(ascending[ranks])


def mean_draws(sums: Floats, sizes: Floats, rows: Ints, counts: Floats) -> Floats:
    """[NUM_RESAMPLES]: Σ sums / Σ sizes of each resample."""
    mine = _columns(counts, rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (mine @ sums) / (mine @ sizes)
    return found


def interval_of(resampled: Floats) -> Interval | None:
    """The middle 95 % of the resamples; None where one of them has no number."""
    if not len(resampled) or not np.isfinite(resampled).all():
        return None
    low, high = np.quantile(resampled, [_TAIL, 1 - _TAIL], method="inverted_cdf")
    return Interval(low=float(low), high=float(high))


def jain_interval(resampled: Floats, observed: float, num_users: int) -> Interval | None:
    """Resamples of Jain's index are skewed and too low, the more so the fewer the users; the log of
    its squared coefficient of variation, log(1/J − 1), is neither: its mean less the bias ± t ·
    spread. Where a resample has no variation at all, the plain quantiles."""
    if num_users < 2 or not np.isfinite(resampled).all() or max(resampled.max(), observed) >= 1:
        return interval_of(resampled)
    log_variation = np.log(1 / resampled - 1)
    middle = 2 * float(np.log(1 / observed - 1)) - float(log_variation.mean())
    half = student_t(num_users - 1) * float(log_variation.std())
    low, high = (1 / (1 + exp(end)) for end in (middle + half, middle - half))
    return Interval(low=low, high=high)


class UserDraws:
    """Resampled statistics of users' attainment; a user's repeats are drawn together."""

    def __init__(self, users: Attainment, labels: Ints, counts: Floats) -> None:
        """`labels`: the column of `counts` that each row of `users` belongs to."""
        self._ratio, self._counts = users.ratio, counts
        self._labels = labels
        self._users = users

    def of(self, key: str) -> Floats | None:
        """[NUM_RESAMPLES] of a number of `slo` or `fairness`; None if it is not one of users."""
        users, each = self._users, np.ones(len(self._ratio))
        makers: dict[str, Callable[[], Floats]] = {
            "users_within_slo_ratio": lambda: self._share(users.is_within_slo * each, each),
            "turn_attainment_ratio": lambda: self._share(
                users.num_attained_turns * each, users.num_planned_turns * each
            ),
            "mean_user_attainment_ratio": lambda: self._share(self._ratio, each),
            "p5_user_attainment_ratio": self._p5,
            "jain_index": self._jain,
            "gini_index": self._gini,
        }
        return makers[key]() if key in makers else None

    def _p5(self) -> Floats:
        columns = np.unique(self._labels)
        return percentile_draws(self._ratio, Clusters.of(self._labels), columns, self._counts, 0.05)

    def _total(self, values: Floats) -> Floats:
        weights = np.bincount(self._labels, weights=values, minlength=self._counts.shape[1])
        total: Floats = self._counts @ weights
        return total

    def _share(self, part: Floats, whole: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = self._total(part) / self._total(whole)
        return found

    def _jain(self) -> Floats:
        num = self._total(np.ones(len(self._ratio)))
        return self._share_of(
            np.square(self._total(self._ratio)), num * self._total(self._ratio**2)
        )

    def _gini(self) -> Floats:
        """Over users in order of their share, each counted as often as drawn; some resamples at a
        time, for memory's sake."""
        order = np.argsort(self._ratio, kind="stable")
        share, columns = self._ratio[order], self._labels[order]
        rows = max(1, CHUNK // len(order))
        found = []
        for first in range(0, len(self._counts), rows):
            weight = self._counts[first : first + rows, columns]
            before = np.cumsum(weight, axis=1)
            num, total = before[:, -1], weight @ share
            spread = np.einsum("ru,ru,u->r", weight, 2 * before - weight - num[:, None], share)
            found.append(self._share_of(spread, num * total))
        return np.concatenate(found)

    @staticmethod
    def _share_of(part: Floats, whole: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = part / whole
        return found


def user_intervals(users: Attainment) -> dict[str, Interval | None]:
    """Of the fairness numbers that are averages over users."""
    labels = np.unique(users.user_id, return_inverse=True)[1]
    resampled = UserDraws(users, labels, draws(int(labels.max()) + 1))
    keys = ("jain_index", "gini_index", "mean_user_attainment_ratio")
    found = {key: resampled.of(key) for key in keys}
    intervals = {key: None if each is None else interval_of(each) for key, each in found.items()}
    ratio, drawn = users.ratio, found["jain_index"]
    if drawn is not None and ratio.any():
        observed = float(ratio.sum() ** 2 / (len(ratio) * (ratio**2).sum()))
        intervals["jain_index"] = jain_interval(drawn, observed, int(labels.max()) + 1)
    return intervals
