"""Resampled percentiles and bootstrap-t of means against slow twins, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from suite.measuring.user_intervals import _log_variation
from suite.statistics.bootstrap import draws, interval_of, levels_around, percentile_draws
from suite.statistics.bootstrap_t import (
    _log_ratio,
    _log_ratio_of_means,
    _ratio,
    mean_interval,
    mean_ratio_interval,
)
from suite.statistics.intervals import Clusters
from suite.statistics.quantiles import CONFIDENCE_RATIO, Interval, quantile
from suite.statistics.shares import _log_odds

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
    found = percentile_draws(values, Clusters.from_labels(labels), np.arange(NUM), counts, [q])
    for row in range(50):
        assert found[row] == quantile(np.sort(resampled(values, labels, counts[row])), q)


def test_a_smoothed_percentile_is_the_mean_of_its_neighbours(sample):
    values, labels = sample
    clusters, counts = Clusters.from_labels(labels), draws(NUM)
    levels = levels_around(values, clusters, 0.9)
    assert levels == sorted(levels)
    assert levels[2] == 0.9
    apart = [percentile_draws(values, clusters, np.arange(NUM), counts, [q]) for q in levels]
    found = percentile_draws(values, clusters, np.arange(NUM), counts, levels)
    assert found == pytest.approx(np.mean(apart, axis=0))


def test_every_resample_draws_as_many_as_there_are_and_always_the_same():
    assert (draws(NUM).sum(axis=1) == NUM).all()
    before = draws(NUM).copy()
    draws.cache_clear()
    assert (draws(NUM) == before).all()


def test_a_mean_s_bootstrap_t_by_hand(sample):
    """Each resample laid out: how far its log mean lies off, in its own standard errors."""
    values, labels = sample
    clusters = Clusters.from_labels(labels)
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


def test_a_ratio_of_means_by_hand(sample):
    """Each resample laid out, conversations of both engines together: the log ratio's error is that
    of the difference of what a conversation weighs in both. The fourth lost all turns of one."""
    values, labels = sample
    clusters = Clusters.from_labels(labels)
    totals = np.stack([clusters.sizes, clusters.sums(values)], axis=1)
    base = np.stack([clusters.sizes, clusters.sums(values[::-1] + 1)], axis=1)
    base[3] = 0.0

    def ratio_and_error(rows):
        (num, total), (base_num, base_total) = totals[rows].sum(axis=0), base[rows].sum(axis=0)
        weights = totals[rows] @ [-1 / num, 1 / total] - base[rows] @ [
            -1 / base_num,
            1 / base_total,
        ]
        error = np.sqrt(NUM / (NUM - 1) * np.square(weights).sum())
        return np.log(total / num / (base_total / base_num)), error, weights

    value, error, weights = ratio_and_error(np.arange(NUM))
    studentised = []
    for drawn in draws(NUM):
        its_value, its_error, _ = ratio_and_error(np.repeat(np.arange(NUM), drawn.astype(int)))
        studentised.append((its_value - value) / its_error)
    kurtosis = NUM * (weights**4).sum() / np.square(weights).sum() ** 2
    num_degrees = min(NUM - 1, 2 * NUM / (kurtosis - 1))
    assert num_degrees > 4
    wider = stats.t.ppf(0.975, num_degrees) / stats.norm.ppf(0.975)
    tail = (1 - CONFIDENCE_RATIO) / 2
    ends = np.quantile(studentised, [1 - tail, tail], method="inverted_cdf")
    found = mean_ratio_interval(totals, base)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(value - ends * wider * error)))


def test_ratios_of_means_in_any_unit_and_without_one():
    rng = np.random.default_rng(1)
    totals, base = (np.stack([np.ones(40), rng.lognormal(size=40)], axis=1) for _ in range(2))
    found = mean_ratio_interval(totals, base)
    tiny = mean_ratio_interval(totals * [1, 1e-200], base * [1, 1e-200])
    assert found is not None
    assert tiny is not None
    assert (tiny.low, tiny.high) == pytest.approx((found.low, found.high))
    assert mean_ratio_interval(totals, totals) == Interval(low=1.0, high=1.0)
    for factor in (1.1, 1.3, 2.0):  # always by as much: what is left is rounding
        sure = mean_ratio_interval(totals, totals * [1, factor])
        assert sure is not None
        assert (sure.low, sure.high) == pytest.approx((1 / factor, 1 / factor))
    without = np.zeros((60, 2))  # conversations without a sample, as of another user class
    assert mean_ratio_interval(*(np.concatenate([each, without]) for each in (totals, base))) == (
        found
    )
    lonely = (np.concatenate([each[:1], without]) for each in (totals, base))
    assert mean_ratio_interval(*lonely) is None
    assert mean_ratio_interval(totals, base * [1, 0]) is None
    assert mean_ratio_interval(totals[:1], base[:1]) is None


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
    totals = np.array([[10.0, 6.0, 4.5, 7.0]])
    statistics = (
        (_log_ratio, 2),
        (_ratio, 2),
        (_log_odds, 2),
        (_log_variation, 3),
        (_log_ratio_of_means, 4),
    )
    for statistic, width in statistics:
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
        clusters = Clusters.from_labels(labels)
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
