"""Thinned data: fewer points, none of them invented, the tail complete."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.drawing.thinning import buckets, ecdf, evenly, spread_over
from suite.statistics.intervals import Clusters, effective_samples, percentile_interval


def test_a_small_sample_is_drawn_whole():
    found = ecdf(np.array([3.0, 1.0, 2.0]), np.arange(3))
    assert found.value.tolist() == [1.0, 2.0, 3.0]
    assert found.ratio.tolist() == [1 / 3, 2 / 3, 1.0]
    assert not found.is_thinned


@settings(max_examples=30)
@given(st.integers(401, 200_000))
def test_a_large_sample_keeps_exact_steps_and_its_whole_tail(count):
    samples = np.arange(1.0, count + 1)
    found = ecdf(np.random.default_rng(0).permutation(samples), np.arange(count))
    assert len(found.value) <= 400
    assert found.is_thinned
    assert found.num_samples == count
    assert np.array_equal(found.ratio, found.value / count)  # value k is the k-th of count
    assert np.array_equal(found.value[-100:], samples[-100:])
    assert found.value[0] == 1.0


@given(st.integers(0, 1000), st.integers(2, 50))
def test_an_even_choice_holds_both_ends_and_the_limit(count, limit):
    chosen = evenly(count, limit)
    assert len(chosen) == min(count, limit)
    assert len(set(chosen.tolist())) == len(chosen)
    if count:
        assert (chosen[0], chosen[-1]) == (0, count - 1)


@given(st.lists(st.floats(0, 1e4), max_size=300), st.integers(1, 50))
def test_buckets_lose_neither_counts_nor_peaks(at, limit):
    instants = np.array(sorted(at))
    found = buckets(instants, limit)
    values = np.arange(1.0, len(instants) + 1)
    assert found.total(values).sum() == values.sum()
    if len(instants):
        assert np.nanmax(found.largest(values)) == values.max()
    assert len(found.at) <= max(1, limit)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(1, 7))
def test_a_band_is_the_interval_of_metrics_json_at_every_place(values, num_clusters):
    samples = np.array(values, dtype=float)
    labels = np.arange(len(samples)) % num_clusters
    band = ecdf(samples, labels).band
    clusters, ascending = Clusters.from_labels(labels), np.sort(samples)
    for place, low, high in zip(band.place, band.low, band.high, strict=True):
        value = ascending[round(place * len(samples) + 0.5) - 1]
        hits = clusters.sums(samples <= value)
        effective = effective_samples(hits, clusters.sizes)
        slow = percentile_interval(ascending, place, effective, len(clusters))
        assert (None if np.isnan(low) else low) == slow.low
        assert (None if np.isnan(high) else high) == slow.high


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 9), st.floats(0, 1e3)), max_size=20),
    st.integers(1, 12),
)
def test_what_is_spread_over_time_is_neither_lost_nor_invented(amounts, num):
    began, length, amount = np.array(amounts, dtype=float).reshape(-1, 3).T
    edges = np.linspace(0.0, 60.0, num + 1)
    spread = spread_over(edges, began, began + length, amount)
    for index in range(num):  # the slow twin: one overlap after the other
        low, high = edges[index], edges[index + 1]
        overlap = np.clip(np.minimum(began + length, high) - np.maximum(began, low), 0, None)
        assert spread[index] == pytest.approx((amount * overlap / length).sum(), abs=1e-6)
