"""How much each user weighs in the numbers over users: influences, and Gini's index resampled.

An influence is by how much a number would change were there a little more of that user (the
infinitesimal jackknife: Efron & Tibshirani 1993, ch. 21). Two engines that serve the same users
have numbers that vary together as far as these do.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from scipy import sparse

from suite.measuring.attainment import Attainment
from suite.statistics.arrays import Floats, Ints
from suite.statistics.bootstrap import CHUNK
from suite.statistics.bootstrap_t import standard_errors
from suite.statistics.quantiles import P5, quantile


def user_influences(
    key: str, users: Attainment, headroom: Floats, labels: Ints, num_users: int
) -> Floats | None:
    """[num_users], up to a factor, of a number of `slo` or `fairness`; None if it is not one of
    users. `headroom` and `labels`, the user, of each row of `users`: a user's repeats add up."""
    shares, each = users.ratio, np.ones(len(users.ratio))
    makers: dict[str, Callable[[], Floats]] = {
        "users_within_slo_ratio": lambda: _of_ratio(users.is_within_slo * each, each),
        "turn_attainment_ratio": lambda: _of_ratio(
            users.num_attained_turns * each, users.num_planned_turns * each
        ),
        "mean_user_attainment_ratio": lambda: _of_ratio(shares, each),
        "headroom_mean_ratio": lambda: _of_ratio(headroom, each),
        "p5_user_attainment_ratio": lambda: _of_p5(shares),
        "jain_index": lambda: _of_jain(shares),
        "gini_index": lambda: gini_influences(shares, np.arange(len(shares)))[1],
    }
    if key not in makers:
        return None
    found: Floats = np.bincount(labels, makers[key](), num_users).astype(np.float64)
    return found


def correlation(influences: Floats, others: Floats) -> float:
    """Of two numbers over the same users; 0 where no user weighs in one of them."""
    scale = sqrt(float(influences @ influences) * float(others @ others))
    return float(influences @ others) / scale if scale > 0 else 0.0


def _of_ratio(part: Floats, whole: Floats) -> Floats:
    influences: Floats = part - part.sum() / whole.sum() * whole
    return influences


def _of_p5(shares: Floats) -> Floats:
    return _of_ratio(
        (shares <= quantile(np.sort(shares), P5)).astype(np.float64), np.ones(len(shares))
    )


def _of_jain(shares: Floats) -> Floats:
    """Of log J = 2 log Σx − log n − log Σx²."""
    total, square = float(shares.sum()), float(np.square(shares).sum())
    influences: Floats = 2 * shares / total - np.square(shares) / square - 1 / len(shares)
    return influences


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
