"""Intervals for clustered samples: known answers, and how often they hold the truth."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.intervals import (
    Clusters,
    between_runs_interval,
    combined_ratio,
    effective_samples,
    hull,
    mean_interval,
    percentile_interval,
    share_interval,
)
from suite.quantiles import Interval, interval_ranks
from suite.statistics import summarise


def test_one_sample_a_cluster_is_as_good_as_independent():
    assert effective_samples(np.array([1.0, 0, 1, 1]), np.ones(4)) == 4
    samples = np.random.default_rng(3).lognormal(size=1000)
    assert summarise(samples, np.arange(1000)) == summarise(samples)


def test_samples_of_a_cluster_that_are_all_alike_count_as_one():
    """40 clusters of 25 equal samples each: Var(share) is that of 40 coins; Student's t for 39
    degrees of freedom instead of 999 takes a little more."""
    hits = np.repeat([25.0, 0.0], 20)
    effective = effective_samples(hits, np.full(40, 25.0))
    student = (stats.t.ppf(0.975, 999) / stats.t.ppf(0.975, 39)) ** 2
    assert effective == pytest.approx(39 * student)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=2, max_size=30))
def test_there_are_never_more_effective_samples_than_samples(pairs):
    sizes = np.array([float(max(hit, size)) for hit, size in pairs])
    hits = np.array([float(hit) for hit, _ in pairs])
    assert 0 < effective_samples(hits, sizes) <= sizes.sum() + 1e-9


def test_clusters_without_samples_are_closed_up():
    clusters = Clusters.of(np.array([5, 2, 5]))
    assert len(clusters) == 2
    assert clusters.sums(np.array([1.0, 10.0, 2.0])).tolist() == [10.0, 3.0]
    assert clusters.sums(np.array([True, False, True])).tolist() == [0.0, 2.0]


def test_a_percentile_of_clusters_takes_ranks_further_out():
    ascending = np.arange(1.0, 1001.0)
    narrow, wide = (percentile_interval(ascending, 0.5, num) for num in (1000, 100))
    low, high = interval_ranks(100, 0.5)
    assert low is not None
    assert high is not None
    assert (wide.low, wide.high) == (10.0 * low, 10.0 * high)
    assert wide.low < narrow.low < 500 < narrow.high < wide.high


def test_the_mean_of_clusters_by_hand():
    """Two clusters of one sample, 1 and 3: mean 2 ± t(1) · 1."""
    interval = mean_interval(np.array([1.0, 3.0]), np.ones(2))
    assert interval is not None
    assert interval.high == pytest.approx(2 + stats.t.ppf(0.975, 1))
    assert mean_interval(np.array([1.0]), np.ones(1)) is None


@pytest.mark.parametrize(
    ("hits", "low", "high"), [(0, 0.0, 0.3085), (5, 0.1871, 0.8129), (10, 0.6915, 1.0)]
)
def test_shares_are_clopper_pearson(hits, low, high):
    interval = share_interval(np.repeat([1.0, 0.0], [hits, 10 - hits]), np.ones(10))
    assert interval is not None
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)


def test_runs_need_three_for_an_interval():
    assert between_runs_interval(np.array([1.0, 2.0])) is None
    found = between_runs_interval(np.array([1.0, 2.0, 3.0]))
    assert found is not None
    assert found.high == pytest.approx(2 + stats.t.ppf(0.975, 2) / sqrt(3))


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
            interval = summarise(samples, each).intervals["p50"]
            assert interval is not None
            assert interval.low is not None
            assert interval.high is not None
            held[name] += interval.low <= 1.0 <= interval.high
    assert held["clustered"] >= 183  # 0.95 · 200 − 2.3 standard errors
    assert held["naive"] < 150
