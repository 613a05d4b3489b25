"""Intervals for clustered samples: known answers, and how often they hold the truth."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.statistics.intervals import (
    Clusters,
    clustered_percentile,
    effective_samples,
    hull,
    percentile_interval,
)
from suite.statistics.quantiles import Interval, interval_ranks, quantile
from suite.statistics.ratio_intervals import combined_ratio
from suite.statistics.shares import share_interval
from suite.statistics.summaries import summarise


def test_one_sample_a_cluster_is_as_good_as_independent():
    assert effective_samples(np.array([1.0, 0, 1, 1]), np.ones(4)) == 4
    samples = np.random.default_rng(3).lognormal(size=1000)
    assert summarise(samples, np.arange(1000)) == summarise(samples)


def test_samples_of_a_cluster_that_are_all_alike_count_as_one():
    """40 clusters of 25 equal samples each: Var(share) is that of 40 coins; Student's t for 39
    degrees of freedom takes a little more."""
    hits = np.repeat([25.0, 0.0], 20)
    effective = effective_samples(hits, np.full(40, 25.0))
    student = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 39)) ** 2
    assert effective == pytest.approx(39 * student)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=2, max_size=30))
def test_there_are_never_more_effective_samples_than_samples(pairs):
    sizes = np.array([float(max(hit, size)) for hit, size in pairs])
    hits = np.array([float(hit) for hit, _ in pairs])
    assert 0 < effective_samples(hits, sizes) <= sizes.sum() + 1e-9


def test_clusters_without_samples_are_closed_up():
    clusters = Clusters.from_labels(np.array([5, 2, 5]))
    assert len(clusters) == 2
    assert clusters.sums(np.array([1.0, 10.0, 2.0])).tolist() == [10.0, 3.0]
    assert clusters.sums(np.array([True, False, True])).tolist() == [0.0, 2.0]


def test_a_percentile_of_clusters_takes_ranks_further_out():
    ascending = np.arange(1.0, 1001.0)
    narrow, wide = (percentile_interval(ascending, 0.5, num, 100) for num in (1000, 100))
    low, high = interval_ranks(100, 0.5)
    assert low is not None
    assert high is not None
    assert (wide.low, wide.high) == pytest.approx((low * 1001 / 101, high * 1001 / 101))
    assert wide.low < narrow.low < 500 < narrow.high < wide.high


@pytest.mark.parametrize(
    ("num_clusters", "low_is_open", "high_is_open"),
    [(99, True, True), (100, False, True), (775, False, True), (777, False, False)],
)
def test_a_tail_of_few_clusters_that_are_alike_is_open(num_clusters, low_is_open, high_is_open):
    """P99: 8 · 0.98² / (0.99 · 0.01) = 776.08 clusters, where samples of a cluster are alike."""
    ascending = np.arange(1.0, 100_001.0)
    found = percentile_interval(ascending, 0.99, 5000.0, num_clusters)
    assert (found.low is None, found.high is None) == (low_is_open, high_is_open)
    apart = percentile_interval(ascending, 0.99, 50_000.0, num_clusters)
    assert None not in (apart.low, apart.high)


def test_a_tail_of_few_clusters_also_counts_where_its_interval_begins():
    """P90 in clusters of 4: the samples beyond it are each of another cluster, those next to it
    come in fours. From 57 clusters on the first is believed."""
    for num_clusters, is_believed in ((50, False), (70, True)):
        samples = np.arange(4.0 * num_clusters)  # neighbours are of one cluster
        labels = np.repeat(np.arange(num_clusters), 4)
        tail = np.arange(len(samples)) >= 0.9 * len(samples)
        labels[tail] = np.arange(tail.sum())
        clusters = Clusters.from_labels(labels)
        beyond = clusters.sums(samples <= quantile(samples, 0.9))
        at_percentile = effective_samples(beyond, clusters.sizes)
        effective, interval = clustered_percentile(samples, samples, 0.9, clusters)
        assert (effective == at_percentile) == is_believed
        assert interval == percentile_interval(samples, 0.9, effective, num_clusters)


def test_a_median_needs_no_number_of_clusters():
    found = percentile_interval(np.arange(1.0, 10_001.0), 0.5, 12.0, 12)
    assert None not in (found.low, found.high)


def test_a_design_effect_that_rests_on_uneven_clusters_counts_for_less():
    """60 of 4,000 samples beyond: 6 in each of ten clusters, or 30 in one and 10 in three more. The
    design effect is what it is; this is what Student's t takes from it."""
    sizes = np.full(40, 100.0)
    even, uneven = np.full(40, 100.0), np.full(40, 100.0)
    even[:10] -= 6
    uneven[:4] -= [30, 10, 10, 10]
    taken = {}
    for name, hits in (("even", even), ("uneven", uneven)):
        share = hits.sum() / sizes.sum()
        variance = 40 / 39 * np.square(hits - share * sizes).sum() / sizes.sum() ** 2
        taken[name] = effective_samples(hits, sizes) / (share * (1 - share) / variance)
    assert taken["even"] == pytest.approx(0.939, abs=0.001)  # 39 degrees of freedom
    assert 0.7 < taken["uneven"] < 0.88


@pytest.mark.parametrize(
    ("hits", "low", "high"), [(0, 0.0, 0.2589), (5, 0.2120, 0.7880), (10, 0.7411, 1.0)]
)
def test_shares_are_mid_p(hits, low, high):
    """0 of 10: 1 − 0.05^(1/10), as half of P(0) is the tail."""
    interval = share_interval(np.repeat([1.0, 0.0], [hits, 10 - hits]), np.ones(10))
    assert interval is not None
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)


@pytest.mark.parametrize("num", [10, 40])
def test_each_end_of_a_share_misses_in_at_most_five_in_a_hundred(num):
    """By the binomial distribution itself, at every true share; 95 to 97 % are held on average."""
    counts = np.arange(num + 1)
    found = [share_interval(np.repeat([1.0, 0.0], [k, num - k]), np.ones(num)) for k in counts]
    low = np.array([[each.low] for each in found if each is not None])
    high = np.array([[each.high] for each in found if each is not None])
    truth = np.linspace(0.5, 0.99, 197)
    chance = stats.binom.pmf(counts[:, None], num, truth)
    low_missed, high_missed = (chance * (low > truth)).sum(0), (chance * (high < truth)).sum(0)
    assert max(low_missed.max(), high_missed.max()) < 0.05
    assert 0.95 < 1 - (low_missed + high_missed).mean() < 0.97


def test_two_intervals_combine_on_the_log_scale():
    found = combined_ratio(
        2.0,
        Interval(low=2 * exp(-0.3), high=2 * exp(0.3)),
        1.0,
        Interval(low=exp(-0.4), high=exp(0.4)),
    )
    assert found.low == pytest.approx(2 * exp(-0.5))
    assert found.high == pytest.approx(2 * exp(0.5))
    is_open = combined_ratio(2.0, Interval(low=1.0, high=None), 1.0, Interval(low=0.0, high=2.0))
    assert is_open.high is None
    assert is_open.low is not None


def test_what_varies_together_has_a_ratio_that_varies_less():
    """By the law of cosines: with a correlation of 1 the difference of the two distances."""
    mine = 2.0, Interval(low=2 * exp(-0.3), high=2 * exp(0.3))
    base = 1.0, Interval(low=exp(-0.4), high=exp(0.4))
    for correlation, distance in ((1.0, 0.1), (0.5, sqrt(0.13)), (-1.0, 0.7)):
        found = combined_ratio(*mine, *base, correlation)
        assert found.low == pytest.approx(2 * exp(-distance))
        assert found.high == pytest.approx(2 * exp(distance))
    assert combined_ratio(*mine, *mine, 1.0) == Interval(low=1.0, high=1.0)


def test_a_ratio_of_nothing_is_bounded_by_the_ends_furthest_apart():
    none = Interval(low=0.0, high=0.15)
    assert combined_ratio(0.0, none, 0.5, Interval(low=0.3, high=0.7)) == Interval(
        low=0.0, high=0.5
    )
    assert combined_ratio(0.0, none, 0.5, Interval(low=0.0, high=1.0)).high is None


def test_a_hull_keeps_open_ends_open():
    assert hull(None, None) is None
    assert hull(Interval(low=1.0, high=2.0), None, Interval(low=0.5, high=None)) == Interval(
        low=0.5, high=None
    )


def test_intervals_of_clusters_hold_the_truth_where_naive_ones_do_not():
    """Medians of 1.0; the full table: benchmarks/coverage.py."""
    held = {"clustered": 0, "naive": 0}
    for number in range(200):
        rng = np.random.default_rng([1, number])
        labels = np.repeat(np.arange(60), rng.geometric(1 / 30, 60))
        samples = np.exp(rng.normal(0, 0.4, 60)[labels] + rng.normal(0, 0.3, len(labels)))
        for name, each in (("clustered", labels), ("naive", None)):
            clusters = Clusters.from_labels(np.arange(len(samples)) if each is None else each)
            _, interval = clustered_percentile(samples, np.sort(samples), 0.5, clusters)
            assert interval.low is not None
            assert interval.high is not None
            held[name] += interval.low <= 1.0 <= interval.high
    assert held["clustered"] >= 183  # 0.95 · 200 − 2.3 standard errors
    assert held["naive"] < 150
