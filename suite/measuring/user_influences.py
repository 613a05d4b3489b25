"""How much each user weighs in the numbers over users: influences, and Gini's index resampled.

An influence is by how much a number would change were there a little more of that user (the
infinitesimal jackknife: Efron & Tibshirani 1993, ch. 21). Two engines that serve the same users
have numbers that vary together as far as these do. The functions from `users_within_slo` to `gini`
give each row's (user and repeat) weight in one number, up to a factor.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from suite.measuring.attainment import Attainment
from suite.statistics.arrays import Floats, Ints
from suite.statistics.bootstrap import CHUNK
from suite.statistics.bootstrap_t import standard_errors
from suite.statistics.quantiles import P5, quantile


def users_within_slo(users: Attainment, headroom: Floats) -> Floats:
    """Weights in the share of users within SLO."""
    return _on_ratio(users.is_within_slo.astype(np.float64), np.ones(len(users.ratio)))


def users_within_uncapped(users: Attainment, headroom: Floats) -> Floats:
    """Weights in the share of users who would be within SLO without a bound on longest gaps."""
    return _on_ratio(users.is_within_uncapped.astype(np.float64), np.ones(len(users.ratio)))


def turn_attainment(users: Attainment, headroom: Floats) -> Floats:
    """Weights in the share of turns that attained their SLO."""
    return _on_ratio(
        users.num_attained_turns.astype(np.float64), users.num_planned_turns.astype(np.float64)
    )


def mean_attainment(users: Attainment, headroom: Floats) -> Floats:
    """Weights in the mean over users of their share of attained turns."""
    return _on_ratio(users.ratio, np.ones(len(users.ratio)))


def mean_headroom(users: Attainment, headroom: Floats) -> Floats:
    """Weights in the mean over users of their headroom."""
    return _on_ratio(headroom, np.ones(len(headroom)))


def p5_attainment(users: Attainment, headroom: Floats) -> Floats:
    """Weights in the 5th percentile of users by attainment: who lies at or below it."""
    shares = users.ratio
    is_below = (shares <= quantile(np.sort(shares), P5)).astype(np.float64)
    return _on_ratio(is_below, np.ones(len(shares)))


def jain(users: Attainment, headroom: Floats) -> Floats:
    """Weights in Jain's index, on the scale log J = 2 log Σx − log n − log Σx²."""
    shares = users.ratio
    total, square = float(shares.sum()), float(np.square(shares).sum())
    influences: Floats = 2 * shares / total - np.square(shares) / square - 1 / len(shares)
    return influences


def gini(users: Attainment, headroom: Floats) -> Floats:
    """Weights in Gini's index."""
    return gini_influences(users.ratio, np.arange(len(users.ratio)))[1]


def by_user(influences: Floats, labels: Ints, num_users: int) -> Floats:
    """Sums over each user's rows, [num_users]; `labels`: the user of each row."""
    found: Floats = np.bincount(labels, influences, num_users).astype(np.float64)
    return found


def correlation(influences: Floats, others: Floats) -> float:
    """How far two numbers over the same users vary together, −1 to 1; 0 where no user weighs in one
    of them."""
    scale = sqrt(float(influences @ influences) * float(others @ others))
    return float(influences @ others) / scale if scale > 0 else 0.0


def _on_ratio(part: Floats, whole: Floats) -> Floats:
    influences: Floats = part - part.sum() / whole.sum() * whole
    return influences


def gini_draws(shares: Floats, labels: Ints, counts: Floats) -> tuple[Floats, Floats]:
    """Returns Gini's index of each resample of users and its standard error, [NUM_RESAMPLES] each,
    some resamples at a time, for memory's sake. `labels`: the column of `counts` of each share."""
    x, held = _share_counts(shares, labels, counts.shape[1])
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
    x, held = _share_counts(shares, labels, int(labels.max()) + 1)
    value, influences = _gini(x, held.sum(axis=0)[None])
    return float(value[0]), (influences @ held.T)[0]


def _share_counts(shares: Floats, labels: Ints, num_users: int) -> tuple[Floats, Any]:
    """Returns (distinct shares, how often each user has which: sparse, [num_users, num_distinct]).
    A user has few turns, so few shares are distinct."""
    from scipy import sparse  # noqa: PLC0415  slow to import, and every command reads the catalogue

    x, place = np.unique(shares, return_inverse=True)
    held = sparse.csr_array((np.ones(len(shares)), (labels, place)), (num_users, len(x)))
    return x, held


def _gini(x: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Returns G = E|x − X| / 2µ, [num_rows], and each share's influence on it, (E|x − X| − G · (x +
    µ)) / (n · µ), [num_rows, num_shares] (Langel & Tillé, J. R. Statist. Soc. A 176, 2013). `x`
    ascends; `weights`: how often each is there, [num_rows, num_shares]."""
    num = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights @ x)[:, None] / num
        up_to = np.cumsum(weights, axis=1) / num  # F(x)
        sum_up_to = np.cumsum(weights * x, axis=1) / num  # E[X; X ≤ x]
        distance = x * (2 * up_to - 1) + mean - 2 * sum_up_to  # E|x − X|
        gini = np.einsum("rx,rx->r", weights, distance)[:, None] / (2 * num * mean)
        influences: Floats = (distance - gini * (x + mean)) / (num * mean)
    return gini[:, 0], influences
