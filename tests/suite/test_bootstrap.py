"""Resampled percentiles, means and users' numbers against a slow twin, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from suite.attainment import Attainment
from suite.bootstrap import UserDraws, draws, interval_of, mean_draws, percentile_draws
from suite.fairness import gini_index, jain_index
from suite.intervals import Clusters
from suite.quantiles import quantile

NUM = 30


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(NUM), rng.integers(1, 6, NUM))
    return rng.lognormal(size=len(labels)), labels


def resampled(values, labels, drawn):
    """The drawn clusters laid side by side."""
    return np.concatenate(
        [np.tile(values[labels == each], int(drawn[each])) for each in range(NUM)]
    )


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_percentiles_of_resamples_equal_those_of_the_samples_laid_out(sample, q):
    values, labels = sample
    counts = draws(NUM)
    found = percentile_draws(values, Clusters.of(labels), np.arange(NUM), counts, q)
    for row in range(50):
        assert found[row] == quantile(np.sort(resampled(values, labels, counts[row])), q)


def test_means_of_resamples_equal_those_of_the_samples_laid_out(sample):
    values, labels = sample
    clusters, counts = Clusters.of(labels), draws(NUM)
    found = mean_draws(clusters.sums(values), clusters.sizes, np.arange(NUM), counts)
    for row in range(50):
        assert found[row] == pytest.approx(resampled(values, labels, counts[row]).mean())


def test_every_resample_draws_as_many_as_there_are_and_always_the_same():
    assert (draws(NUM).sum(axis=1) == NUM).all()
    before = draws(NUM).copy()
    draws.cache_clear()
    assert (draws(NUM) == before).all()


def users_of(attained, planned, within):
    num = len(attained)
    return Attainment(
        user_id=np.array([f"u{each}" for each in range(num)], dtype=object),
        user_class=np.array(["a"] * num, dtype=object),
        repeat=np.ones(num, dtype=np.int64),
        num_planned_turns=np.array(planned),
        num_attained_turns=np.array(attained),
        is_within_slo=np.array(within),
    )


def test_users_are_resampled_with_their_formulas():
    rng = np.random.default_rng(8)
    planned = rng.integers(1, 9, NUM)
    attained = rng.integers(0, planned + 1)
    users = users_of(attained, planned, attained == planned)
    counts = draws(NUM)
    made = UserDraws(users, np.arange(NUM), counts)
    ratio = users.ratio
    for row in range(30):
        chosen = np.repeat(np.arange(NUM), counts[row].astype(int))
        expected = {
            "jain_index": jain_index(ratio[chosen]),
            "gini_index": gini_index(ratio[chosen]),
            "users_within_slo_ratio": users.is_within_slo[chosen].mean(),
            "turn_attainment_ratio": attained[chosen].sum() / planned[chosen].sum(),
            "p5_user_attainment_ratio": quantile(np.sort(ratio[chosen]), 0.05),
        }
        for key, value in expected.items():
            found = made.of(key)
            assert found is not None
            assert found[row] == pytest.approx(value), key
    assert made.of("longest_gap_s") is None


def test_a_resample_without_a_number_gives_no_interval():
    assert interval_of(np.array([1.0, np.nan])) is None
    assert interval_of(np.zeros(0)) is None


def test_paired_ratios_hold_the_truth_and_are_narrower_than_unpaired_ones():
    held, widths = 0, {"paired": 0.0, "unpaired": 0.0}
    counts, columns = draws(80), np.arange(80)
    for number in range(150):
        rng = np.random.default_rng([2, number])
        level = rng.normal(0, 0.5, 80)
        labels = np.repeat(np.arange(80), 5)
        clusters = Clusters.of(labels)
        slow, fast = (
            shift + level[labels] + rng.normal(0, 0.3, len(labels)) for shift in (np.log(1.2), 0)
        )
        drawn = [
            percentile_draws(np.exp(each), clusters, columns, counts, 0.5) for each in (slow, fast)
        ]
        paired, unpaired = (interval_of(drawn[0] / other) for other in (drawn[1], drawn[1][::-1]))
        assert paired is not None
        assert unpaired is not None
        held += paired.low <= 1.2 <= paired.high
        widths["paired"] += paired.high - paired.low
        widths["unpaired"] += unpaired.high - unpaired.low
    assert held >= 134
    assert widths["paired"] < 0.8 * widths["unpaired"]
