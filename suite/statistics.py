"""Quantiles of a finite sample, and how far they can be trusted.

Definition: the q-quantile of n samples is the smallest sample x with at least q·n samples ≤ x, the
order statistic of rank ⌈q·n⌉ (numpy's `inverted_cdf`). It is always a value that was observed;
nothing is interpolated between two samples of a tail.

Rule: a percentile is given only when at least one sample is expected beyond it, n·(1 − q) ≥ 1:
P50 from 2 samples, P90 from 10, P95 from 20, P99 from 100, P99.9 from 1,000. Below that it is None
with a reason.

Interval: distribution-free. The number of samples ≤ the true quantile is Binomial(n, q), so two
order statistics enclose it with at least the stated confidence whatever the distribution. An end
that no order statistic can hold is None (open). Samples are taken as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

PERCENTILES: dict[str, Fraction] = {
    "p50": Fraction(1, 2),
    "p90": Fraction(9, 10),
    "p95": Fraction(19, 20),
    "p99": Fraction(99, 100),
    "p999": Fraction(999, 1000),
}
CONFIDENCE_RATIO = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Both ends are samples; None = open, no sample can be that end at this confidence."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A distribution in the words of metrics.json. Percentiles that are None stand in
    `unavailable` with the reason."""

    count: int
    mean: float | None
    maximum: float | None
    percentiles: dict[str, float | None]
    intervals: dict[str, Interval | None]
    unavailable: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return {
            "count": self.count,
            "mean": self.mean,
            **self.percentiles,
            "max": self.maximum,
            "interval": {
                name: None if interval is None else [interval.low, interval.high]
                for name, interval in self.intervals.items()
            },
            "unavailable": self.unavailable,
        }


def exact_fraction(q: float | Fraction) -> Fraction:
    """What was meant by a decimal such as 0.99: 99/100, not the double next to it."""
    return q if isinstance(q, Fraction) else Fraction(q).limit_denominator(1_000_000)


def quantile_rank(num_samples: int, q: float | Fraction) -> int:
    """1-based rank of the q-quantile: ⌈q·n⌉, at least 1; in integers, so without rounding."""
    assert num_samples > 0, num_samples
    return max(1, ceil(exact_fraction(q) * num_samples))


def samples_needed(q: float | Fraction) -> int:
    """The fewest samples of which at least one is expected beyond the q-quantile."""
    return ceil(1 / (1 - exact_fraction(q)))


def quantile(ascending: Floats, q: float | Fraction) -> float:
    return float(ascending[quantile_rank(len(ascending), q) - 1])


@lru_cache(maxsize=4096)
def interval_ranks(
    num_samples: int, q: float | Fraction, confidence_ratio: float = CONFIDENCE_RATIO
) -> tuple[int | None, int | None]:
    """1-based ranks (low, high) with P(X_low ≤ quantile ≤ X_high) ≥ confidence, equal tails."""
    tail = (1 - confidence_ratio) / 2
    low = int(stats.binom.ppf(tail, num_samples, float(q)))  # P(fewer than low below) < tail
    high = int(stats.binom.ppf(1 - tail, num_samples, float(q))) + 1  # P(≥ high below) ≤ tail
    return (low if low >= 1 else None, high if high <= num_samples else None)


def quantile_interval(
    ascending: Floats, q: float | Fraction, confidence_ratio: float = CONFIDENCE_RATIO
) -> Interval:
    low, high = interval_ranks(len(ascending), q, confidence_ratio)
    return Interval(
        low=None if low is None else float(ascending[low - 1]),
        high=None if high is None else float(ascending[high - 1]),
    )


def summarise(samples: Floats) -> Summary:
    """Every percentile with its interval; NaN is a bug of the caller."""
    assert not np.isnan(samples).any(), "NaN among the samples"
    ascending = np.sort(samples)
    count = len(ascending)
    unavailable = {
        name: f"needs at least {samples_needed(q):,} samples, has {count:,}"
        for name, q in PERCENTILES.items()
        if count < samples_needed(q)
    }
    given = {name: q for name, q in PERCENTILES.items() if name not in unavailable}
    return Summary(
        count=count,
        mean=float(ascending.mean()) if count else None,
        maximum=float(ascending[-1]) if count else None,
        percentiles={
            name: quantile(ascending, given[name]) if name in given else None
            for name in PERCENTILES
        },
        intervals={
            name: quantile_interval(ascending, given[name]) if name in given else None
            for name in PERCENTILES
        },
        unavailable=unavailable,
    )
