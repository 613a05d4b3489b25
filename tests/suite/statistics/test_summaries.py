"""Quantiles and their intervals against slow twins, numpy and simulation."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.statistics.intervals import percentile_interval
from suite.statistics.quantiles import (
    PERCENTILES,
    Interval,
    interval_ranks,
    quantile,
    samples_needed,
)
from suite.statistics.summaries import _closed_by_neighbours, summarise

SAMPLES = st.lists(
    st.floats(min_value=0, max_value=1e6, allow_nan=False, width=32), min_size=1, max_size=300
)


def slow_quantile(samples: list[float], q: Fraction) -> float:
    """The definition, word by word: the smallest sample with at least q·n samples ≤ it."""
    return min(x for x in samples if sum(y <= x for y in samples) >= q * len(samples))


def slow_ranks(n: int, q: Fraction, confidence: Fraction) -> tuple[int | None, int | None]:
    """Exact binomial tails in fractions: the innermost ranks that leave at most half outside."""
    tail = (1 - confidence) / 2
    below = [Fraction(0)]  # below[k] = P(fewer than k samples ≤ the quantile)
    for k in range(n + 1):
        below.append(below[-1] + comb(n, k) * q**k * (1 - q) ** (n - k))
    low = max((k for k in range(1, n + 1) if below[k] <= tail), default=None)
    high = min((k for k in range(1, n + 1) if 1 - below[k] <= tail), default=None)
    return low, high


@given(SAMPLES, st.sampled_from(list(PERCENTILES.values())))
def test_a_quantile_is_the_smallest_sample_that_enough_samples_do_not_exceed(samples, q):
    assert quantile(np.sort(np.array(samples)), q) == slow_quantile(samples, q)


@given(SAMPLES, st.sampled_from(["p50", "p90", "p95", "p99"]))
def test_quantiles_equal_numpys_inverted_cdf(samples, name):
    q = PERCENTILES[name]
    expected = np.quantile(np.array(samples), float(q), method="inverted_cdf")
    if (q * len(samples)).denominator != 1:  # numpy's product rounds where ours is exact
        assert quantile(np.sort(np.array(samples)), q) == expected


def test_known_answers_on_one_to_a_thousand():
    summary = summarise(np.random.default_rng(1).permutation(np.arange(1.0, 1001.0)))
    assert summary.percentiles == {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p999": 999}
    assert (summary.count, summary.mean, summary.maximum) == (1000, 500.5, 1000)
    assert summary.unavailable == {}


def test_a_decimal_means_the_fraction_it_stands_for():
    assert quantile(np.arange(1.0, 101.0), 0.07) == 7  # 0.07 · 100 = 7.000000000000001 in doubles


@pytest.mark.parametrize(
    ("name", "needed"), [("p50", 2), ("p90", 10), ("p95", 20), ("p99", 100), ("p999", 1000)]
)
def test_a_percentile_needs_one_sample_expected_beyond_it(name, needed):
    assert samples_needed(PERCENTILES[name]) == needed
    enough, few = summarise(np.ones(needed)), summarise(np.ones(needed - 1))
    assert enough.percentiles[name] == 1.0
    assert few.percentiles[name] is None
    assert few.intervals[name] is None
    assert few.unavailable[name] == f"needs at least {needed:,} samples, has {needed - 1:,}"


def test_nothing_at_all_is_summarised_as_nothing():
    summary = summarise(np.zeros(0))
    assert (summary.count, summary.mean, summary.maximum) == (0, None, None)
    assert set(summary.unavailable) == set(PERCENTILES)


@pytest.mark.parametrize("n", [5, 20, 59, 60, 150, 400])
@pytest.mark.parametrize("q", [Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)])
def test_fractional_ranks_lie_within_one_of_exact_binomial_tails(n, q):
    """Whole ranks are the next further out, and open where those are."""
    for found, whole, away in zip(
        interval_ranks(n, q, 0.95), slow_ranks(n, q, Fraction(95, 100)), (1, -1), strict=True
    ):
        assert (found is None) == (whole is None)
        if found is not None and whole is not None:
            assert 0 <= away * (found - whole) < 1


def test_an_end_that_no_sample_can_be_is_open():
    """0.999^n ≤ 2.5 % only from n = 3,688 on: below that nothing bounds P99.9 from above."""
    p999 = PERCENTILES["p999"]
    assert percentile_interval(np.arange(3687.0), p999, 3687, 3687).high is None
    high = percentile_interval(np.arange(3688.0), p999, 3688, 3688).high
    assert high == pytest.approx(3687.0, abs=0.01)
    assert percentile_interval(np.arange(5.0), 0.5, 5, 5).low is None


@pytest.mark.parametrize(("name", "n"), [("p50", 100), ("p99", 500), ("p99", 2000)])
def test_intervals_cover_the_true_quantile_of_a_heavy_tail(name, n):
    """Pareto with shape 1.5: the variance is infinite, the coverage must not care."""
    q = float(PERCENTILES[name])
    truth = (1 - q) ** (-1 / 1.5) - 1
    samples = np.sort(np.random.default_rng(5).pareto(1.5, (1000, n)), axis=1)
    found = [percentile_interval(each, q, n, n) for each in samples]
    covered = [
        each.low is not None and each.high is not None and each.low <= truth <= each.high
        for each in found
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_an_open_end_is_that_of_the_next_percentile_on_its_side():
    """Percentiles are in order, and so is what holds them."""
    p95, p999 = Interval(low=1.0, high=None), Interval(low=None, high=9.0)
    found = _closed_by_neighbours(
        {"p90": None, "p95": p95, "p99": Interval(low=None, high=None), "p999": p999}
    )
    assert found["p90"] is None
    assert {found[name] for name in ("p95", "p99", "p999")} == {Interval(low=1.0, high=9.0)}
    assert _closed_by_neighbours({"p50": p999, "p99": p95}) == {"p50": p999, "p99": p95}


def test_a_p99_of_few_conversations_is_at_least_what_p95_is():
    """40 conversations, whose gaps are alike: not one is expected beyond P99."""
    labels = np.repeat(np.arange(40), 50)
    samples = np.arange(40.0)[labels] + np.random.default_rng(2).random(len(labels))
    found = summarise(samples, labels).intervals
    p95, p99 = found["p95"], found["p99"]
    assert p95 is not None
    assert p99 is not None
    assert p99.low == p95.low is not None
    assert p99.high is None
