"""Quantiles of a finite sample, and how far they can be trusted.

Definition: the q-quantile of n samples is the smallest sample x with at least q·n samples ≤ x, the
order statistic of rank ⌈q·n⌉ (numpy's `inverted_cdf`). It is always a value that was observed;
nothing is interpolated between two samples of a tail.

Rule: a percentile is given only when at least one sample is expected beyond it, n·(1 − q) ≥ 1:
P50 from 2 samples, P90 from 10, P95 from 20, P99 from 100, P99.9 from 1,000. Below that it is None
with a reason.

Interval: distribution-free. The number of samples ≤ the true quantile is Binomial(n, q), so two
order statistics enclose it whatever the distribution. Whole ranks hold it more often than stated
(P99 of 500 samples: 98 % instead of 95 %), so the ends lie at fractional ranks, between two
neighbouring samples (Hutson 1999). An end that no order statistic can hold is None (open). That is
for independent samples; intervals.py has what clusters of samples need.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil

from scipy import special

from suite.statistics.arrays import Floats

PERCENTILES: dict[str, Fraction] = {
    "p50": Fraction(1, 2),
    "p90": Fraction(9, 10),
    "p95": Fraction(19, 20),
    "p99": Fraction(99, 100),
    "p999": Fraction(999, 1000),
}
P5 = Fraction(1, 20)  # of users, the worst served
CONFIDENCE_RATIO = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """None = open: no sample can be that end at this confidence."""

    low: float | None
    high: float | None


def exact_fraction(q: float | Fraction) -> Fraction:
    """Returns the fraction that a decimal such as 0.99 means: 99/100, not the double next to it."""
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
    num_samples: float, q: float | Fraction, confidence_ratio: float = CONFIDENCE_RATIO
) -> tuple[float | None, float | None]:
    """1-based fractional ranks (low, high) with P(X_low ≤ quantile ≤ X_high) = confidence, equal
    tails: the order statistic of rank r of n uniform samples is Beta(r, n + 1 − r) distributed,
    which is taken at every real r and n (Hutson, J. Appl. Statist. 26, 1999)."""
    tail = (1 - confidence_ratio) / 2
    return _rank(num_samples, float(q), 1 - tail), _rank(num_samples, float(q), tail)


def _rank(num: float, q: float, chance: float) -> float | None:
    """The rank whose sample is ≤ the quantile with this chance, which falls as the rank grows."""
    if num < 1:
        return None
    # P(sample of rank r ≤ quantile) is that of r or more of num below it: 1 − bdtr(r − 1, num, q).
    rank = float(special.bdtrik(1 - chance, num, q)) + 1
    return rank if 1 < rank <= num else None  # 1: what bdtrik gives for all that lies below it, too
