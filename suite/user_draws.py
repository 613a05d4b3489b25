"""What users' shares could have been had other users been drawn: fairness numbers, resampled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from suite.attainment import Attainment
from suite.bootstrap import CHUNK, percentile_draws
from suite.bootstrap_t import standard_errors
from suite.intervals import Clusters, Ints
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
        return gini_draws(self._ratio, self._labels, self._counts)[0]

    @staticmethod
    def _share_of(part: Floats, whole: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = part / whole
        return found


def gini_draws(shares: Floats, labels: Ints, counts: Floats) -> tuple[Floats, Floats]:
    """Gini's index of each resample of users and its standard error, [NUM_RESAMPLES] each; some
    resamples at a time, for memory's sake. `labels`: the column of `counts` of each share."""
    found = np.empty((2, len(counts)))
    rows = max(1, CHUNK // len(shares))
    for first in range(0, len(counts), rows):
        stretch = slice(first, first + rows)
        value, influences = gini_influences(shares, labels, counts[stretch])
        squares = np.einsum("rc,rc,rc->r", counts[stretch], influences, influences)
        found[:, stretch] = value, standard_errors(squares, counts.shape[1])
    return found[0], found[1]


def gini_influences(shares: Floats, labels: Ints, counts: Floats) -> tuple[Floats, Floats]:
    """Gini's index G = E|x − y| / 2µ, [num_rows], and the influence on it of each column of
    `counts`, (E|x − X| − G · (x + µ)) / (n · µ) summed over its shares, [num_rows, num_columns]
    (Langel & Tillé, J. R. Statist. Soc. A 176, 2013)."""
    order = np.argsort(shares, kind="stable")
    x, columns = shares[order], labels[order]
    weights = counts[:, columns]
    num = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights @ x)[:, None] / num
        # E|x − X| = x · (2 F(x) − 1) + µ − 2 E[X; X ≤ x]
        apart = np.cumsum(weights, axis=1) * (2 * x)
        apart -= 2 * np.cumsum(weights * x, axis=1)
        apart = apart / num + mean - x
        gini = np.einsum("rx,rx->r", weights, apart)[:, None] / (2 * num * mean)
        own = (apart - gini * (x + mean)) / (num * mean)
    return gini[:, 0], _sums_by_column(own, columns, counts.shape[1])


def _sums_by_column(own: Floats, columns: Ints, num_columns: int) -> Floats:
    """[num_rows, num_columns]: Σ of the values of each column."""
    order = np.argsort(columns, kind="stable")
    present, first = np.unique(columns[order], return_index=True)
    found = np.zeros((len(own), num_columns))
    found[:, present] = np.add.reduceat(own[:, order], first, axis=1)
    return found
