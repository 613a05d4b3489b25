"""Repeats: what their mean's interval may hold, that it holds the mean, and how often the truth."""

from __future__ import annotations

from collections.abc import Callable
from math import asin, exp, log, sin, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from suite.statistics.arrays import Floats
from suite.statistics.quantiles import Interval
from suite.statistics.student import (
    mean_of_repeats_interval,
    paired_ratio_interval,
    unpaired_ratio_interval,
)

T_OF_3 = float(stats.t.ppf(0.975, 2))
NUM_TRIALS = 4000
Draw = Callable[[np.random.Generator], Floats]


def ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def test_runs_need_three_for_an_interval():
    assert mean_of_repeats_interval(np.array([1.0, 2.0])) is None
    assert mean_of_repeats_interval(np.array([1.0, 2.0, 3.0])) is not None


def test_times_are_taken_on_the_log_scale():
    """1, 2 and 3 s: a standard error of 1/√3, of which the logarithm of the mean has half."""
    half = T_OF_3 / sqrt(3) / 2
    found = ends(mean_of_repeats_interval(np.array([1.0, 2.0, 3.0])))
    assert found == pytest.approx((2 * exp(-half), 2 * exp(half)))


def test_shares_are_taken_on_the_log_odds_scale():
    half = T_OF_3 * 0.1 / sqrt(3) / 0.25
    found = ends(mean_of_repeats_interval(np.array([0.4, 0.5, 0.6]), is_share=True))
    assert found == pytest.approx((1 / (1 + exp(half)), 1 / (1 + exp(-half))))


def test_a_repeat_at_an_end_is_reached_by_a_root():
    counts, shares = np.array([0.0, 0.0, 3.0]), np.array([1.0, 1.0, 0.97])
    assert ends(mean_of_repeats_interval(counts)) == pytest.approx((0.0, (1 + T_OF_3 / 2) ** 2))
    error = 0.03 / 3 / (2 * sqrt(0.99 * 0.01))
    low = sin(asin(sqrt(0.99)) - T_OF_3 * error) ** 2
    assert ends(mean_of_repeats_interval(shares, is_share=True)) == pytest.approx((low, 1.0))


@pytest.mark.parametrize(
    ("values", "is_share"),
    [
        ([1.0, 5.0, 9.0], False),  # ± would say −5 s to 15 s
        ([0.1, 0.3, 0.9], True),  # … −60 % to 147 %
        ([0.0, 0.0, 0.3], False),
        ([1.0, 1.0, 0.4], True),
    ],
)
def test_what_plus_minus_would_call_impossible_is_not_said(values, is_share):
    low, high = ends(mean_of_repeats_interval(np.array(values), is_share=is_share))
    assert low >= 0
    assert high <= (1 if is_share else np.inf)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 7e-9])
def test_repeats_that_are_alike_are_a_point(value):
    for is_share in (False, True):
        found = mean_of_repeats_interval(np.full(5, value), is_share=is_share)
        assert ends(found) == pytest.approx((value, value))


def test_what_may_be_below_zero_is_taken_as_it_is():
    found = ends(mean_of_repeats_interval(np.array([-1.0, 0.0, 1.0])))
    assert found == pytest.approx((-T_OF_3 / sqrt(3), T_OF_3 / sqrt(3)))


AMOUNTS = st.lists(st.floats(0, 1e6) | st.just(0.0), min_size=3, max_size=12)
SHARES = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0]), min_size=3, max_size=12)


@given(values=AMOUNTS)
def test_an_amount_stays_possible_and_holds_its_mean(values):
    found = np.array(values)
    low, high = ends(mean_of_repeats_interval(found))
    assert 0 <= low <= found.mean() <= high < np.inf


@given(values=SHARES)
def test_a_share_stays_possible_and_holds_its_mean(values):
    found = np.array(values)
    low, high = ends(mean_of_repeats_interval(found, is_share=True))
    assert 0 <= low <= found.mean() <= high <= 1


@given(values=AMOUNTS, base=AMOUNTS)
def test_a_ratio_is_never_below_zero(values, base):
    num = min(len(values), len(base))
    for found in (
        paired_ratio_interval(values[:num], base[:num]),
        unpaired_ratio_interval(values, base),
    ):
        if found is not None:
            assert 0 < ends(found)[0] <= ends(found)[1]


def test_a_ratio_with_zeros_among_the_repeats_is_that_of_the_means_to_the_first_order():
    values, base = (0.0, 1.0, 2.0), (1.0, 1.0, 4.0)
    error = float(np.std(np.array(values) / 1 - np.array(base) / 2, ddof=1)) / sqrt(3)
    found = ends(paired_ratio_interval(values, base))
    assert found == pytest.approx((0.5 * exp(-T_OF_3 * error), 0.5 * exp(T_OF_3 * error)))
    assert paired_ratio_interval((0.0, 0.0, 0.0), base) is None
    assert unpaired_ratio_interval(base, (0.0, 0.0, 0.0)) is None


def lognormal(num: int, spread: float) -> tuple[Draw, float]:
    return lambda rng: np.exp(rng.normal(0, spread, num)), exp(spread**2 / 2)


def shares_of_users(
    num: int, share: float, spread: float, num_users: int = 40
) -> tuple[Draw, float]:
    """Shares of 40 users each, whose log-odds differ from run to run."""
    steps = special.ndtri((np.arange(2000) + 0.5) / 2000)
    truth = float(special.expit(log(share / (1 - share)) + spread * steps).mean())

    def draw(rng: np.random.Generator) -> Floats:
        levels = special.expit(log(share / (1 - share)) + rng.normal(0, spread, num))
        found: Floats = rng.binomial(40, levels) / 40
        return found

    return draw, truth


def poisson(num: int, mean: float) -> tuple[Draw, float]:
    return lambda rng: rng.poisson(mean, num).astype(float), mean


@pytest.mark.parametrize(
    ("scene", "is_share", "covered"),
    [
        (lognormal(3, 0.05), False, 0.95),
        (lognormal(3, 0.3), False, 0.95),
        (lognormal(5, 0.3), False, 0.945),
        (lognormal(3, 1.0), False, 0.92),  # ± : 0.84
        (shares_of_users(3, 0.5, 0.5), True, 0.95),
        (shares_of_users(3, 0.9, 0.5), True, 0.95),  # ± : 0.937, low ends miss in 5 %
        (shares_of_users(3, 0.95, 0.5), True, 0.95),  # ± : 0.91, low ends miss in 8 %
        (shares_of_users(10, 0.95, 0.0), True, 0.95),
        (poisson(3, 3.0), False, 0.95),
        (poisson(10, 1.0), False, 0.95),
    ],
)
def test_the_truth_is_held_as_often_as_stated(scene, is_share, covered):
    draw, truth = scene
    rng = np.random.default_rng(5)
    found = [
        ends(mean_of_repeats_interval(draw(rng), is_share=is_share)) for _ in range(NUM_TRIALS)
    ]
    share = np.mean([low <= truth <= high for low, high in found])
    assert share == pytest.approx(covered, abs=0.015)
