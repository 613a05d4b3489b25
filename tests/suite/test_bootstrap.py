"""Resampled percentiles, means and users' numbers against a slow twin, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from suite.attainment import Attainment
from suite.bootstrap import draws, interval_of, levels_around, mean_draws, percentile_draws
from suite.bootstrap_t import _log_ratio, _ratio, mean_interval
from suite.fairness import gini_index, jain_index
from suite.intervals import Clusters
from suite.quantiles import CONFIDENCE_RATIO, Interval, quantile
from suite.user_draws import UserDraws
from suite.user_intervals import _log_odds, _log_variation

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
    found = percentile_draws(values, Clusters.of(labels), np.arange(NUM), counts, [q])
    for row in range(50):
        assert found[row] == quantile(np.sort(resampled(values, labels, counts[row])), q)


def test_a_smoothed_percentile_is_the_mean_of_its_neighbours(sample):
    values, labels = sample
    clusters, counts = Clusters.of(labels), draws(NUM)
    levels = levels_around(values, clusters, 0.9)
    assert levels == sorted(levels)
    assert levels[2] == 0.9
    apart = [percentile_draws(values, clusters, np.arange(NUM), counts, [q]) for q in levels]
    found = percentile_draws(values, clusters, np.arange(NUM), counts, levels)
    assert found == pytest.approx(np.mean(apart, axis=0))


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


def test_a_mean_s_bootstrap_t_by_hand(sample):
    """Each resample laid out: how far its log mean lies off, in its own standard errors."""
    values, labels = sample
    clusters = Clusters.of(labels)
    sums, sizes = clusters.sums(values), clusters.sizes

    def mean_and_error(sums, sizes):
        mean = sums.sum() / sizes.sum()
        squares = np.square(sums - mean * sizes).sum()
        return mean, np.sqrt(NUM / (NUM - 1) * squares) / sizes.sum()

    mean, error = mean_and_error(sums, sizes)
    studentised = []
    for drawn in draws(NUM):
        rows = np.repeat(np.arange(NUM), drawn.astype(int))
        its_mean, its_error = mean_and_error(sums[rows], sizes[rows])
        studentised.append(np.log(its_mean / mean) / (its_error / its_mean))
    # Satterthwaite: a variance of n influences is known as one of 2 / (kurtosis − 1) · n degrees.
    kurtosis = stats.kurtosis(sums / mean - sizes, fisher=False)
    num_degrees = min(NUM - 1, 2 * NUM / (kurtosis - 1))
    assert 4 < num_degrees < NUM - 1
    wider = stats.t.ppf(0.975, num_degrees) / stats.norm.ppf(0.975)
    tail = (1 - CONFIDENCE_RATIO) / 2
    ends = np.quantile(studentised, [1 - tail, tail], method="inverted_cdf")
    expected = mean * np.exp(-ends * wider * error / mean)
    found = mean_interval(sums, sizes)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_means_without_spread_or_sign():
    assert mean_interval(np.zeros(0), np.zeros(0)) is None
    assert mean_interval(np.array([1.0]), np.ones(1)) is None
    assert mean_interval(np.full(9, 2.0), np.ones(9)) == Interval(low=2.0, high=2.0)
    two = mean_interval(np.array([1.0, 3.0]), np.ones(2))  # most resamples have no spread
    assert two == Interval(low=None, high=None)
    signed = mean_interval(np.linspace(-1, 1, 20), np.ones(20))
    assert signed is not None
    assert signed.low is not None
    assert signed.high is not None
    assert signed.low < 0 < signed.high
    tiny = mean_interval(np.linspace(1e-200, 2e-200, 20), np.ones(20))
    assert tiny is not None
    assert tiny.low is not None
    assert 1e-200 < tiny.low < 1.5e-200


def test_few_clusters_that_make_up_the_spread_leave_their_side_open():
    sums = np.ones(30)
    sums[0] = 9.0
    above = mean_interval(sums, np.ones(30))
    below = mean_interval(10 - sums, np.ones(30))
    assert above is not None
    assert above.high is None
    assert below is not None
    assert below.low is None


def test_slopes_are_derivatives():
    totals = np.array([[10.0, 6.0, 4.5]])
    for statistic, width in ((_log_ratio, 2), (_ratio, 2), (_log_odds, 2), (_log_variation, 3)):
        mine = totals[:, :width]
        value, slope = statistic(mine)
        for column in range(width):
            step = np.zeros_like(mine)
            step[0, column] = 1e-6
            numeric = (statistic(mine + step)[0] - value) / 1e-6
            assert slope[0, column] == pytest.approx(numeric[0], rel=1e-4)


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
            percentile_draws(np.exp(each), clusters, columns, counts, [0.5])
            for each in (slow, fast)
        ]
        paired, unpaired = (interval_of(drawn[0] / other) for other in (drawn[1], drawn[1][::-1]))
        assert paired is not None
        assert unpaired is not None
        held += paired.low <= 1.2 <= paired.high
        widths["paired"] += paired.high - paired.low
        widths["unpaired"] += unpaired.high - unpaired.low
    assert held >= 134
    assert widths["paired"] < 0.8 * widths["unpaired"]
