"""Fewer points for the eye: a run has millions of gaps, a screen some hundred columns.

Whatever is thinned says so (`is_thinned`), and the page repeats it under the figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_ECDF_POINTS = 400
NUM_EXACT_TAIL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecdf:
    """Steps of the empirical distribution: `ratio` of all samples are ≤ `value`."""

    value: Floats
    ratio: Floats
    num_samples: int
    is_thinned: bool


def ecdf(samples: Floats, max_points: int = MAX_ECDF_POINTS) -> Ecdf:
    """Every point is an exact order statistic; the slowest 100 samples are all kept."""
    ascending = np.sort(samples)
    count = len(ascending)
    ranks = np.arange(1, count + 1)
    if count > max_points:
        num_spread = (max_points - NUM_EXACT_TAIL) * 2 // 3
        beyond = np.geomspace(count, NUM_EXACT_TAIL, num_spread)  # samples beyond, per nine
        spread = count + 1 - np.round(beyond).astype(np.int64)
        even = np.linspace(1, count, num_spread // 2).round().astype(np.int64)
        ranks = np.unique(np.concatenate([spread, even, ranks[-NUM_EXACT_TAIL:]]))
    return Ecdf(
        value=ascending[ranks - 1],
        ratio=ranks / count if count else np.zeros(0),
        num_samples=count,
        is_thinned=len(ranks) < count,
    )


def evenly(num_items: int, limit: int) -> Ints:
    """Indices of at most `limit` items, spread evenly over all."""
    if num_items <= limit:
        return np.arange(num_items)
    return np.linspace(0, num_items - 1, limit).round().astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Equal stretches of time: each one's middle, and the row ranges that fall into it."""

    at: Floats
    width_s: float
    bucket_of: Ints  # [num_rows]

    def largest(self, values: Floats) -> Floats:
        """NaN for a bucket without rows."""
        found = np.full(len(self.at), -np.inf)
        np.maximum.at(found, self.bucket_of, values)
        return np.where(np.isinf(found), np.nan, found)

    def total(self, values: Floats) -> Floats:
        summed = np.bincount(self.bucket_of, weights=values, minlength=len(self.at))
        return summed.astype(np.float64)


def buckets(at: Floats, limit: int) -> Buckets:
    num = max(1, min(limit, len(at)))
    start, end = (float(at.min()), float(at.max())) if len(at) else (0.0, 0.0)
    width_s = (end - start) / num or 1.0
    bucket_of = np.clip(((at - start) / width_s).astype(np.int64), 0, num - 1)
    middle = start + width_s * (np.arange(num, dtype=np.float64) + 0.5)
    return Buckets(at=middle.astype(np.float64), width_s=width_s, bucket_of=bucket_of)
