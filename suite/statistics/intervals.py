"""Intervals for samples that come in clusters: effective numbers and percentiles.

Turns of one conversation are not independent, conversations are. So what a percentile can be
trusted to is a matter of how the samples on either side of it spread over conversations: the design
effect d = Var(share) over clusters / the variance that as many independent samples would give, and
n/d effective samples (Woodruff 1952; Korn & Graubard 1998, with their Student correction, for as
many degrees of freedom as the design effect itself is known to). With one sample a cluster these
are the intervals of quantiles.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf

import numpy as np
import numpy.typing as npt

from suite.statistics.arrays import Floats, Labels
from suite.statistics.quantiles import Interval, interval_ranks, quantile
from suite.statistics.student import student_t

Values = Floats | npt.NDArray[np.bool_]

CHUNK = 1 << 21  # samples counted together
CLUSTERED = 4.0  # samples for an effective one
CLUSTERS_BY_SKEWNESS = 8.0  # Cochran's rule (25 there); chosen by benchmarks/coverage.py


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which cluster each sample belongs to, and how many samples each has (none: left out)."""

    of_sample: Labels  # [num_samples], 0 … num_clusters − 1
    sizes: Floats  # [num_clusters], all > 0

    @classmethod
    def from_labels(cls, labels: Labels) -> Clusters:
        """Numbers the clusters from 0; `labels` are small non-negative integers, of which those
        without a sample are closed up."""
        counts = sums_by_label(labels, None, int(labels.max(initial=-1)) + 1)
        present = counts > 0
        if present.all():
            return cls(labels, counts)
        row_of = np.cumsum(present) - 1
        return cls(row_of[labels], counts[present])

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, values: Values) -> Floats:
        """Returns Σ of the values in each cluster; of flags, how many are true."""
        return sums_by_label(self.of_sample, values, len(self))


def sums_by_label(
    labels: Labels, values: Floats | npt.NDArray[np.bool_] | None, num: int
) -> Floats:
    """Returns Σ of the values (None: how many) by label, a stretch at a time: numpy copies them."""
    total = np.zeros(num)
    for first in range(0, len(labels), CHUNK):
        stretch = slice(first, first + CHUNK)
        weights = None if values is None else values[stretch].astype(np.float64, copy=False)
        total += np.bincount(labels[stretch], weights=weights, minlength=num)
    return total


def effective_samples(hits: Floats, sizes: Floats) -> float:
    """How many independent samples tell as much about a share as these: `hits` of `sizes` in each
    cluster. Never more than there are samples; where all or none hit, the number of clusters."""
    num_clusters, num_samples = len(sizes), float(sizes.sum())
    if num_clusters < 2:
        return float(num_clusters)
    if num_clusters == num_samples:
        return num_samples
    share = float(hits.sum()) / num_samples
    if share in (0.0, 1.0):
        return float(num_clusters)
    # d = Σ of squares of the clusters' sums / Σ of squares of the samples, both around the share.
    squares = np.square(hits - share * sizes)
    own = hits * (1 - share) ** 2 + (sizes - hits) * share**2
    few = num_clusters / (num_clusters - 1)
    design_effect = few * float(squares.sum() / own.sum())
    student = student_t(_num_degrees(squares, own)) / student_t(inf)
    return num_samples / max(1.0, design_effect * student**2)


def _num_degrees(squares: Floats, own: Floats) -> float:
    """Returns the degrees of freedom of the design effect: 1 / its squared relative error, itself a
    ratio over clusters; at most C − 1. Satterthwaite's would be 2 / it: too many for what is
    skewed, as benchmarks/coverage.py shows."""
    error = squares - squares.sum() / own.sum() * own
    total = float(squares.sum()) ** 2
    most = len(squares) - 1.0
    return most if not total else max(1.0, min(most, total / max(float(error @ error), 1e-300)))


def clusters_needed(q: float) -> float:
    """The fewest clusters that bound the q-quantile of samples which are alike within a cluster. A
    share of q has the squared skewness (1 − 2q)² / q(1 − q), by which Cochran (1977) counts."""
    return CLUSTERS_BY_SKEWNESS * (1 - 2 * q) ** 2 / (q * (1 - q))


def clustered_percentile(
    samples: Floats, ascending: Floats, q: float | Fraction, clusters: Clusters
) -> tuple[float, Interval]:
    """Returns (effective number, interval) of the q-quantile; `ascending`: the samples sorted.

    Few clusters tell little of a tail's design effect, and mostly too small a one. So it is also
    taken where the interval begins, with more samples beyond, and the larger counts (variances at
    the ends of an interval: Francisco & Fuller 1991)."""

    def effective_at(value: float) -> float:
        return effective_samples(clusters.sums(samples <= value), clusters.sizes)

    effective, level = effective_at(quantile(ascending, q)), float(q)
    found = percentile_interval(ascending, level, effective, len(clusters))
    inner = found.low if level > 0.5 else found.high
    is_known = len(clusters) >= clusters_needed(level)
    if is_known or inner is None or _are_alike(len(samples), effective):
        return effective, found
    effective = min(effective, effective_at(inner))
    return effective, percentile_interval(ascending, level, effective, len(clusters))


def percentile_interval(
    ascending: Floats, q: float, num_effective: float, num_clusters: int
) -> Interval:
    """Returns two order statistics; their ranks are those for the effective number, spread over the
    samples there are. Where clusters matter and are too few, the end towards the tail is open, and
    both are where not one cluster is expected in the tail."""
    num = len(ascending)
    low, high = interval_ranks(num_effective, q)
    if _are_alike(num, num_effective) and num_clusters < clusters_needed(q):
        is_empty = num_clusters * min(q, 1 - q) < 1
        low, high = (None if q < 0.5 or is_empty else low), (None if q > 0.5 or is_empty else high)
    stretch = (num + 1) / (num_effective + 1)
    return Interval(
        low=None if low is None else _at_rank(ascending, low * stretch),
        high=None if high is None else _at_rank(ascending, high * stretch),
    )


def _are_alike(num: int, num_effective: float) -> bool:
    """Whether samples of a cluster are so alike that clusters, not samples, must be many."""
    return num > CLUSTERED * num_effective


def _at_rank(ascending: Floats, rank: float) -> float:
    """Returns the sample of a 1-based rank; a fractional one lies between two neighbours."""
    below = min(max(1, int(rank)), len(ascending))
    above = min(below + 1, len(ascending))
    share = min(max(0.0, rank - below), 1.0)
    return float((1 - share) * ascending[below - 1] + share * ascending[above - 1])


def hull(*intervals: Interval | None) -> Interval | None:
    """The smallest interval around all that are given; open ends stay open."""
    given = [each for each in intervals if each is not None]
    if not given:
        return None
    lows, highs = [each.low for each in given], [each.high for each in given]
    return Interval(
        low=None if None in lows else min(low for low in lows if low is not None),
        high=None if None in highs else max(high for high in highs if high is not None),
    )


def holding(interval: Interval | None, value: float | None) -> Interval | None:
    """Returns the interval with the value in it; open ends stay open."""
    if interval is None or value is None:
        return interval
    return Interval(
        low=None if interval.low is None else min(interval.low, value),
        high=None if interval.high is None else max(interval.high, value),
    )


def as_json(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [interval.low, interval.high]


def all_as_json(intervals: Mapping[str, Interval | None]) -> dict[str, list[float | None] | None]:
    return {name: as_json(interval) for name, interval in intervals.items()}
