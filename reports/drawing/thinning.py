"""Fewer points for the eye: a run has millions of gaps, a screen some hundred columns.

Whatever is thinned says so (`is_thinned`), and the page repeats it under the figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.statistics.arrays import Floats, Ints, Labels
from suite.statistics.intervals import Clusters, effective_samples, percentile_interval

MAX_ECDF_POINTS = 400
NUM_EXACT_TAIL = 100
MAX_BAND_POINTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Holds 95 % intervals of some quantiles of a distribution; NaN = open. All arrays
    [num_places]."""

    place: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecdf:
    """Holds the steps of an empirical distribution: `ratio` of all samples are ≤ `value`; `place`
    is the middle of the step. All arrays [num_points]."""

    value: Floats
    ratio: Floats
    place: Floats
    band: Band
    num_samples: int
    is_thinned: bool


def ecdf(samples: Floats, clusters: Labels, max_points: int = MAX_ECDF_POINTS) -> Ecdf:
    """Returns the distribution of the samples by exact order statistics, the slowest 100 among
    them. `clusters`: the conversation of each sample."""
    ascending = np.sort(samples)
    count = len(ascending)
    ranks = _drawn_ranks(count, max_points)
    ratio = ranks / max(count, 1)
    return Ecdf(
        value=ascending[ranks - 1],
        ratio=ratio,
        place=ratio - 0.5 / max(count, 1),
        band=_band(ascending, samples, clusters, ranks[evenly(len(ranks), MAX_BAND_POINTS)]),
        num_samples=count,
        is_thinned=len(ranks) < count,
    )


def _drawn_ranks(count: int, max_points: int) -> Ints:
    """Returns the ranks to draw, from 1, evenly spread both over the samples and over the nines
    beyond them."""
    ranks = np.arange(1, count + 1)
    if count <= max_points:
        return ranks
    num_spread = (max_points - NUM_EXACT_TAIL) * 2 // 3
    beyond = np.geomspace(count, NUM_EXACT_TAIL, num_spread)  # samples beyond, per nine
    spread = count + 1 - np.round(beyond).astype(np.int64)
    even = np.linspace(1, count, num_spread // 2).round().astype(np.int64)
    return np.unique(np.concatenate([spread, even, ranks[-NUM_EXACT_TAIL:]]))


def _band(ascending: Floats, samples: Floats, labels: Labels, ranks: Ints) -> Band:
    """Computes the intervals of metrics.json (suite/statistics/intervals.py) at many quantiles."""
    values, num_clusters = ascending[ranks - 1], len(np.unique(labels))
    place = (ranks - 0.5) / max(len(ascending), 1)
    ends = [
        percentile_interval(ascending, float(q), num_effective, num_clusters)
        for q, num_effective in zip(place, _effective(values, samples, labels), strict=True)
    ]
    return Band(
        place=place,
        low=np.array([np.nan if end.low is None else end.low for end in ends]),
        high=np.array([np.nan if end.high is None else end.high for end in ends]),
    )


def _effective(values: Floats, samples: Floats, labels: Labels) -> list[float]:
    """Returns for each of the ascending values how many independent samples would tell as much
    about the share that is at most as large. It counts the samples once, by cluster and by stretch
    between two values."""
    if not len(samples):
        return []
    clusters = Clusters.from_labels(labels)
    if len(clusters) == len(samples):
        return [float(len(samples))] * len(values)
    distinct, place = np.unique(values, return_inverse=True)
    stretch = np.searchsorted(distinct, samples).astype(np.int32)  # i: at most distinct[i]
    cell = clusters.of_sample * np.int32(len(distinct) + 1) + stretch
    counts = np.bincount(cell, minlength=len(clusters) * (len(distinct) + 1))
    hits = np.cumsum(counts.reshape(len(clusters), -1), axis=1, dtype=np.float64)
    found = [effective_samples(each, clusters.sizes) for each in hits.T[:-1]]
    return [found[index] for index in place]


def evenly(num_items: int, limit: int) -> Ints:
    """Returns the places of at most `limit` items, spread evenly over all."""
    if num_items <= limit:
        return np.arange(num_items)
    return np.linspace(0, num_items - 1, limit).round().astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Divides time into equal stretches: the middle of each, and which one each row falls into."""

    at: Floats
    width_s: float
    bucket_of: Ints  # [num_rows]

    @property
    def edges(self) -> Floats:
        """Returns where stretches begin and end, shape [num_buckets + 1]."""
        return np.append(self.at - self.width_s / 2, self.at[-1] + self.width_s / 2)

    def largest(self, values: Floats) -> Floats:
        """Returns the largest value in each stretch; NaN where it has no rows."""
        found = np.full(len(self.at), -np.inf)
        np.maximum.at(found, self.bucket_of, values)
        return np.where(np.isinf(found), np.nan, found)

    def total(self, values: Floats) -> Floats:
        """Returns the sum of the values in each stretch."""
        summed = np.bincount(self.bucket_of, weights=values, minlength=len(self.at))
        return summed.astype(np.float64)


def buckets(at: Floats, limit: int) -> Buckets:
    """Divides the time of the rows into at most `limit` equal stretches."""
    num = max(1, min(limit, len(at)))
    start, end = (float(at.min()), float(at.max())) if len(at) else (0.0, 0.0)
    width_s = (end - start) / num or 1.0
    bucket_of = np.clip(((at - start) / width_s).astype(np.int64), 0, num - 1)
    middle = start + width_s * (np.arange(num, dtype=np.float64) + 0.5)
    return Buckets(at=middle.astype(np.float64), width_s=width_s, bucket_of=bucket_of)


def spread_over(edges: Floats, began_at: Floats, ended_at: Floats, amount: Floats) -> Floats:
    """Returns how much falls between two neighbouring edges, summed over the amounts, each spent
    evenly from its beginning to its end: shape [len(edges) - 1]. It takes O(n log n), not edges ×
    amounts."""
    length = np.maximum(ended_at - began_at, 1e-9)
    rate = amount / length
    at = np.concatenate([began_at, began_at + length])
    order = np.argsort(at, kind="stable")
    at, change = at[order], np.concatenate([rate, -rate])[order]
    if not len(at):
        return np.zeros(len(edges) - 1)
    running = np.cumsum(change)
    so_far = np.concatenate([[0.0], np.cumsum(running[:-1] * np.diff(at))])
    return np.diff(np.interp(edges, at, so_far))
