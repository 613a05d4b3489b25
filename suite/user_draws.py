"""What users' shares could have been had other users been drawn: fairness numbers, resampled."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import numpy as np

from suite.attainment import Attainment
from suite.bootstrap import CHUNK, draws, interval_of, percentile_draws
from suite.bootstrap_t import bootstrap_t
from suite.intervals import Clusters, Ints
from suite.quantiles import Interval
from suite.turn_table import Floats


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
        return percentile_draws(
            self._ratio, Clusters.of(self._labels), columns, self._counts, [0.05]
        )

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
    if users.ratio.any():
        intervals["jain_index"] = jain_interval(users.ratio, labels)
    return intervals


def jain_interval(shares: Floats, labels: Ints) -> Interval | None:
    """Bootstrap-t on the scale log(1/J − 1), where J is least skewed; `labels`: the user of each
    share. A point where all shares are alike; None for a single user."""
    if (shares == shares[0]).all():
        return Interval(low=1.0, high=1.0) if labels.any() else None
    sums: Floats = np.stack(
        [np.bincount(labels, shares**power).astype(np.float64) for power in range(3)], axis=1
    )
    found = bootstrap_t(sums, _log_variation)
    if found is None:
        return None
    low, high = (None if end is None else 1 / (1 + exp(end)) for end in (found.high, found.low))
    return Interval(low=low, high=high)


def _log_variation(totals: Floats) -> tuple[Floats, Floats]:
    """log(n·Σx² / (Σx)² − 1), the squared coefficient of variation, of n, Σx and Σx²."""
    num, total, square = totals.T
    variation = num * square / total**2 - 1
    variation = np.where(variation > 1e-12, variation, np.nan)  # no scatter, but for rounding
    slope = np.stack([square / total**2, -2 * num * square / total**3, num / total**2], axis=1)
    return np.log(variation), slope / variation[:, None]
