"""The share of one sum in another over clusters: known answers, how often it holds the truth."""

from __future__ import annotations

import numpy as np
import pytest

from suite.statistics.shares import share_of_sums_interval


def test_samples_that_are_all_alike_are_bounded_by_clusters_not_met():
    labels, whole = np.repeat(np.arange(40), 2), np.tile([0.0, 30.0], 40)
    found = share_of_sums_interval(whole, whole, labels)
    unmet = 1 - 0.025 ** (1 / 40)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((1 - unmet, 1.0))


def test_a_sample_that_adds_nothing_changes_nothing():
    rng = np.random.default_rng(1)
    whole = rng.integers(10, 500, 60).astype(float)
    part = np.floor(whole * rng.random(60))
    labels = np.arange(60) // 3
    more = [np.concatenate([[0.0], each]) for each in (part, whole)]
    found = share_of_sums_interval(*more, np.concatenate([[7], labels]))
    assert found == share_of_sums_interval(part, whole, labels)


def test_one_cluster_or_nothing_at_all_has_no_interval():
    one, none = np.ones(3), np.zeros(3)
    assert share_of_sums_interval(one, one, np.zeros(3, dtype=int)) is None
    assert share_of_sums_interval(none, none, np.arange(3)) is None
    assert share_of_sums_interval(none[:0], none[:0], np.arange(0)) is None


def test_it_holds_the_true_share_as_often_as_stated():
    """Prompts grow turn by turn and are cached in whole or not at all, by conversation's chance."""
    rng, num_held, num_trials = np.random.default_rng(5), 0, 400
    for _ in range(num_trials):
        num_turns = rng.integers(1, 8, 60)
        labels = np.repeat(np.arange(60), num_turns)
        chance = np.repeat(rng.beta(2, 2, 60), num_turns)
        whole = rng.integers(20, 400, len(labels)).astype(float)
        part = whole * (rng.random(len(labels)) < chance)
        found = share_of_sums_interval(part, whole, labels)
        num_held += found is not None and found.low <= 0.5 <= found.high
    assert 0.92 <= num_held / num_trials <= 0.985
