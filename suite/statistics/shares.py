"""Intervals of shares: a count of clusters that hit, and a mean of shares over clusters."""

from __future__ import annotations

from math import exp

import numpy as np
from scipy import special

from suite.statistics.arrays import Floats, Labels
from suite.statistics.bootstrap_t import bootstrap_t
from suite.statistics.intervals import effective_samples
from suite.statistics.quantiles import CONFIDENCE_RATIO, Interval

_TAIL = (1 - CONFIDENCE_RATIO) / 2


def share_interval(hits: Floats, sizes: Floats) -> Interval | None:
    """Returns the mid-P interval of Σ hits / Σ sizes on the effective number; None without
    clusters. A count has only so many values, so no interval holds every true share equally often:
    over 10 to 200 users and shares of 0.5 to 0.99 this one holds it in 95 to 97 % on average, and
    its ends, which gates look at, miss in at most 5 % each (Wilson's 16 %, Jeffreys' 10 %; Clopper
    & Pearson's holds 97 to 99 %: Brown, Cai & DasGupta 2001; Berry & Armitage 1995)."""
    total = float(sizes.sum())
    if not total:
        return None
    num = effective_samples(hits, sizes)
    found = float(hits.sum()) / total * num
    return Interval(low=mid_p_low(found, num), high=1 - mid_p_low(num - found, num))


def mid_p_low(found: float, num: float, tail: float = _TAIL) -> float:
    """Returns the share at which P(more than found) + P(as many) / 2 is the tail: Clopper &
    Pearson's count all of P(as many). Beta functions stand for the binomial sums, at every real
    number."""
    if found <= 0:
        return 0.0

    def excess(share: float) -> float:
        more = special.betainc(found + 1, num - found, share) if found < num else 0.0
        return float(more + special.betainc(found, num - found + 1, share)) / 2 - tail

    from scipy import optimize  # noqa: PLC0415  slow to import, and every command reads the catalogue

    return float(optimize.brentq(excess, 0.0, 1.0, xtol=1e-12))


def share_of_sums_interval(part: Floats, whole: Floats, labels: Labels) -> Interval | None:
    """Returns the interval of Σ part / Σ whole, never above 1, by bootstrap-t over clusters on the
    scale log(m / (1 − m)); `labels`: the cluster of each sample, from 0. Where it leaves an end
    open, or all samples have the same share, that end is what clusters not met could make of it: a
    share of them as large as `unmet_share` with nothing, or with all. None for a single cluster."""
    num_clusters = int(labels.max(initial=-1)) + 1
    if num_clusters < 2 or not whole.sum() > 0:
        return None
    totals: Floats = np.stack([np.bincount(labels, whole), np.bincount(labels, part)], axis=1)
    counted = np.flatnonzero(whole)  # what adds nothing is like anything
    first = counted[0]
    are_alike = bool((part * whole[first] == part[first] * whole)[counted].all())
    found = None if are_alike else bootstrap_t(totals, _log_odds)
    low, high = (None, None) if found is None else (found.low, found.high)
    mean, unmet = float(part.sum() / whole.sum()), unmet_share(num_clusters)
    return Interval(
        low=(1 - unmet) * mean if low is None else 1 / (1 + exp(-low)),
        high=unmet + (1 - unmet) * mean if high is None else 1 / (1 + exp(-high)),
    )


def unmet_share(num_clusters: int) -> float:
    """The largest share of a kind of clusters of which none was met: Clopper & Pearson's upper end
    for 0 of N, 1 − 0.025^(1/N)."""
    return float(1 - _TAIL ** (1 / num_clusters))


def _log_odds(totals: Floats) -> tuple[Floats, Floats]:
    whole, part = totals.T
    return np.log(part / (whole - part)), np.stack(
        [-1 / (whole - part), 1 / part + 1 / (whole - part)], axis=1
    )
