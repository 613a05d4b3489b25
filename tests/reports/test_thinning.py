"""Thinned data: fewer points, none of them invented, the tail complete."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reports.thinning import buckets, ecdf, evenly


def test_a_small_sample_is_drawn_whole():
    found = ecdf(np.array([3.0, 1.0, 2.0]))
    assert found.value.tolist() == [1.0, 2.0, 3.0]
    assert found.ratio.tolist() == [1 / 3, 2 / 3, 1.0]
    assert not found.is_thinned


@given(st.integers(401, 200_000))
def test_a_large_sample_keeps_exact_steps_and_its_whole_tail(count):
    samples = np.arange(1.0, count + 1)
    found = ecdf(np.random.default_rng(0).permutation(samples))
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
