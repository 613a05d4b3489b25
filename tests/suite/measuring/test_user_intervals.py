"""Intervals of numbers over users: known answers, ranges, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.measuring.fairness import gini_index, jain_index
from suite.measuring.user_influences import gini_draws, gini_influences
from suite.measuring.user_intervals import (
    gini_interval,
    jain_interval,
    mean_share_interval,
    p5_interval,
)
from suite.statistics.bootstrap import draws
from suite.statistics.quantiles import Interval

STATISTICS = (
    (jain_interval, jain_index),
    (gini_interval, gini_index),
    (mean_share_interval, np.mean),
)


def ends(found: Interval | None) -> tuple[float, float]:
    """Of an interval that is closed."""
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


SHARES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), min_size=2, max_size=30)


@settings(max_examples=40)
@given(SHARES.filter(any))
def test_an_interval_holds_what_was_observed_and_stays_in_its_range(shares):
    values = np.array(shares)
    for interval_of, value_of in STATISTICS:
        low, high = ends(interval_of(values, np.arange(len(values))))
        value = value_of(values)
        assert value is not None
        assert 0 <= low <= value + 1e-9
        assert value - 1e-9 <= high <= 1


def test_users_who_are_all_alike_do_not_speak_for_those_not_met():
    """Of 40 users none is of a kind of which there may be 1 − 0.025^(1/40) = 8.8 %."""
    whole, labels, unmet = np.ones(40), np.arange(40), 1 - 0.025 ** (1 / 40)
    assert ends(jain_interval(whole, labels)) == pytest.approx((1 - unmet, 1))
    assert ends(gini_interval(whole, labels)) == pytest.approx((0, unmet))
    assert ends(mean_share_interval(whole, labels)) == pytest.approx((1 - unmet, 1))
    # What these bounds are: the index with so many users added who have nothing.
    more = np.concatenate([np.ones(1000 - round(1000 * unmet)), np.zeros(round(1000 * unmet))])
    assert jain_index(more) == pytest.approx(1 - unmet, abs=1e-3)
    assert gini_index(more) == pytest.approx(unmet, abs=1e-3)


def test_one_user_who_differs_bounds_nothing_on_that_side():
    shares, labels = np.ones(40), np.arange(40)
    shares[7] = 0.5
    unmet = 1 - 0.025 ** (1 / 40)
    observed = jain_index(shares)
    assert observed is not None
    assert ends(jain_interval(shares, labels))[0] == pytest.approx((1 - unmet) * observed)


def test_a_single_user_has_no_interval():
    for interval_of, _ in STATISTICS:
        assert interval_of(np.ones(1), np.zeros(1, dtype=int)) is None


def test_repeats_of_a_user_say_no_more_than_one_of_them():
    labels = np.arange(40)
    shares = np.random.default_rng(2).beta(2, 1, 40)
    for interval_of, _ in STATISTICS:
        once = ends(interval_of(shares, labels))
        twice = ends(interval_of(np.tile(shares, 2), np.tile(labels, 2)))
        assert twice == pytest.approx(once)


def test_p5_needs_72_users_to_be_bounded_from_below():
    """0.95^72 < 0.025."""
    shares = np.linspace(0.1, 1, 72)
    low, high = ends(p5_interval(shares, np.arange(72)))
    assert low <= shares[3] <= high
    fewer = p5_interval(shares[:71], np.arange(71))
    assert fewer is not None
    assert fewer.low is None


def test_gini_s_influences_are_derivatives():
    """By how often each share counts; user 1 has two repeats, whose influences add up."""
    shares, labels = np.random.default_rng(4).random(8), np.array([0, 1, 1, 2, 3, 4, 5, 6])
    value, influences = gini_influences(shares, labels)
    assert value == pytest.approx(gini_index(shares))

    def gini_of(weights):
        apart = np.abs(shares[:, None] - shares)
        return weights @ apart @ weights / (2 * weights.sum() * (weights @ shares))

    for user in range(7):
        numeric = (gini_of(1 + 1e-6 * (labels == user)) - value) / 1e-6
        assert influences[user] == pytest.approx(numeric, rel=1e-3, abs=1e-7)


def test_gini_s_draws_are_those_of_the_users_laid_out():
    """Its error too: from the influences in a resample; with repeats, of a user's sum."""
    rng = np.random.default_rng(6)
    for labels in (np.arange(12), np.repeat(np.arange(6), 2)):
        shares, counts = rng.random(12), draws(labels.max() + 1)
        values, errors = gini_draws(shares, labels, counts)
        for row in range(20):
            often = counts[row].astype(int)
            drawn = np.concatenate(
                [np.flatnonzero(labels == each) for each in np.repeat(np.arange(len(often)), often)]
            )
            users = np.repeat(np.arange(len(often)), len(labels) // len(often))
            value, influences = gini_influences(shares[drawn], users)
            assert values[row] == pytest.approx(value)
            few = len(often) / (len(often) - 1)
            assert errors[row] == pytest.approx(np.sqrt(few * influences @ influences))


def test_gini_s_draws_of_some_of_the_users_leave_the_others_out():
    """Two repeats of the even ones of 20 users: as if there were only those."""
    shares, labels = np.random.default_rng(7).random(20), np.repeat(np.arange(0, 20, 2), 2)
    some = gini_draws(shares, labels, draws(20))
    alone = gini_draws(shares, labels // 2, draws(20)[:, ::2])
    assert np.allclose(some, alone)


def test_gini_is_resampled_a_stretch_at_a_time(monkeypatch):
    shares = np.random.default_rng(5).random(30)
    whole = gini_draws(shares, np.arange(30), draws(30))
    monkeypatch.setattr("suite.measuring.user_influences.CHUNK", 700)
    parts = gini_draws(shares, np.arange(30), draws(30))
    assert np.allclose(whole, parts, rtol=1e-12)


def test_intervals_of_40_users_hold_the_truth():
    """Two classes, half of the users far worse off; the full table: benchmarks/coverage.py."""
    truth = {jain_interval: 0.8764, gini_interval: 0.2084, mean_share_interval: 0.7}
    held = dict.fromkeys(truth, 0)
    for number in range(100):
        rng = np.random.default_rng([3, number])
        shares = np.where(rng.random(40) < 0.5, rng.beta(9, 1, 40), rng.beta(2, 2, 40))
        for interval_of, value in truth.items():
            low, high = ends(interval_of(shares, np.arange(40)))
            held[interval_of] += low <= value <= high
    assert min(held.values()) >= 89  # 0.95 · 100 − 2.8 standard errors
