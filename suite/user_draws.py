"""What users' shares could have been had other users been drawn: fairness numbers, resampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

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
    x, held = _held(shares, labels, counts.shape[1])
    found = np.empty((2, len(counts)))
    rows = max(1, CHUNK // counts.shape[1])
    for first in range(0, len(counts), rows):
        stretch = counts[first : first + rows]
        gini, influences = _gini(x, stretch @ held)
        influences = influences @ held.T
        squares = np.einsum("ru,ru,ru->r", stretch, influences, influences)
        found[:, first : first + rows] = gini, standard_errors(squares, len(np.unique(labels)))
    return found[0], found[1]


def gini_influences(shares: Floats, labels: Ints) -> tuple[float, Floats]:
    """Gini's index and the influence of each user on it, [num_users]."""
    x, held = _held(shares, labels, int(labels.max()) + 1)
    value, influences = _gini(x, held.sum(axis=0)[None])
    return float(value[0]), (influences @ held.T)[0]


def _held(shares: Floats, labels: Ints, num_users: int) -> tuple[Floats, Any]:
    """(distinct shares, how often each user holds which: sparse, [num_users, num_distinct]). Turns
    are few, so distinct shares are."""
    x, place = np.unique(shares, return_inverse=True)
    held = sparse.csr_array((np.ones(len(shares)), (labels, place)), (num_users, len(x)))
    return x, held


def _gini(x: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """G = E|x − X| / 2µ, [num_rows], and each share's influence on it, (E|x − X| − G · (x + µ)) /
    (n · µ), [num_rows, num_shares] (Langel & Tillé, J. R. Statist. Soc. A 176, 2013). `x` ascends;
    `weights`: how often each is there, [num_rows, num_shares]."""
    num = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights @ x)[:, None] / num
        up_to = np.cumsum(weights, axis=1) / num  # F(x)
        sum_up_to = np.cumsum(weights * x, axis=1) / num  # E[X; X ≤ x]
        apart = x * (2 * up_to - 1) + mean - 2 * sum_up_to  # E|x − X|
        gini = np.einsum("rx,rx->r", weights, apart)[:, None] / (2 * num * mean)
        influences: Floats = (apart - gini * (x + mean)) / (num * mean)
    return gini[:, 0], influences
