"""How far numbers over users can be trusted: Jain, Gini, mean and P5 of attainment, headroom.

Bootstrap-t over users: plain resamples of few users are all more even than what they come from,
and hold the true index in 80 to 90 %. Where it leaves an end open (all users alike, or a few of
them make up the whole spread), that end is what users not met could make of the number: a share of
at most 1 − 0.025^(1/N) of a kind of which none is among N users (Clopper & Pearson's for 0 of N),
and those with the worst, or the best, attainment there is.
"""

from __future__ import annotations

from math import exp, log

import numpy as np

from suite.measuring.attainment import Attainment
from suite.measuring.user_influences import gini_draws, gini_influences
from suite.statistics.arrays import Floats, Ints
from suite.statistics.bootstrap import draws
from suite.statistics.bootstrap_t import bootstrap_t, studentised_interval
from suite.statistics.intervals import Clusters, clustered_percentile
from suite.statistics.quantiles import P5, Interval
from suite.statistics.shares import share_of_sums_interval, unmet_share


def user_intervals(users: Attainment, headroom: Floats) -> dict[str, Interval | None]:
    """Returns the intervals of the fairness numbers over users; `headroom` of each row of `users`.
    A user's repeats are drawn together."""
    labels = np.unique(users.user_id, return_inverse=True)[1]
    ratio = users.ratio
    has_any = bool(ratio.any())
    return {
        "jain_index": jain_interval(ratio, labels) if has_any else None,
        "gini_index": gini_interval(ratio, labels) if has_any else None,
        "mean_user_attainment_ratio": mean_share_interval(ratio, labels),
        "p5_user_attainment_ratio": p5_interval(ratio, labels),
        "headroom_mean_ratio": mean_share_interval(headroom, labels),
    }


def jain_interval(shares: Floats, labels: Ints) -> Interval | None:
    """Returns the interval of Jain's index, on the scale log(1/J − 1), where it is least skewed;
    `labels`: the user of each share, from 0. None for a single user."""
    num_users = int(labels.max()) + 1
    if num_users < 2:
        return None
    sums: Floats = np.stack(
        [np.bincount(labels, shares**power).astype(np.float64) for power in range(3)], axis=1
    )
    found = None if _are_alike(shares) else bootstrap_t(sums, _log_variation)
    _, total, square = sums.sum(axis=0)
    # A share u of users with nothing: (1 − u)² (Σx)² / ((1 − u) n Σx²).
    low = (1 - unmet_share(num_users)) * total**2 / (len(shares) * square)
    if found is None:
        return Interval(low=low, high=1.0)
    return Interval(
        low=low if found.high is None else 1 / (1 + exp(found.high)),
        high=1.0 if found.low is None else 1 / (1 + exp(found.low)),
    )


def gini_interval(shares: Floats, labels: Ints) -> Interval | None:
    """Returns the interval of Gini's index, on the log scale. None for a single user."""
    num_users = int(labels.max()) + 1
    if num_users < 2:
        return None
    (gini, influences), unmet = gini_influences(shares, labels), unmet_share(num_users)
    high = unmet + (1 - unmet) * gini  # a share u with nothing: u + (1 − u) G
    if _are_alike(shares):
        return Interval(low=0.0, high=high)
    drawn, errors = gini_draws(shares, labels, draws(num_users))
    with np.errstate(invalid="ignore", divide="ignore"):
        logs, errors = np.log(drawn), errors / drawn
    found = studentised_interval(log(gini), influences / gini, logs, errors)
    return Interval(
        low=0.0 if found.low is None else exp(found.low),
        high=high if found.high is None else min(1.0, exp(found.high)),
    )


def mean_share_interval(shares: Floats, labels: Ints) -> Interval | None:
    """The interval of the mean of shares from 0 to 1. None for a single user."""
    return share_of_sums_interval(shares, np.ones(len(shares)), labels)


def p5_interval(shares: Floats, labels: Ints) -> Interval | None:
    """Returns two order statistics around P5 of users; below 72 users the low end is open."""
    return clustered_percentile(shares, np.sort(shares), P5, Clusters.from_labels(labels))[1]


def _are_alike(shares: Floats) -> bool:
    return bool((shares == shares[0]).all())


def _log_variation(totals: Floats) -> tuple[Floats, Floats]:
    """log(n·Σx² / (Σx)² − 1), the squared coefficient of variation, of n, Σx and Σx²."""
    num, total, square = totals.T
    variation = num * square / total**2 - 1
    variation = np.where(variation > 1e-12, variation, np.nan)  # no scatter, but for rounding
    slope = np.stack([square / total**2, -2 * num * square / total**3, num / total**2], axis=1)
    return np.log(variation), slope / variation[:, None]
