"""How much each user weighs: against numeric derivatives of the plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from suite.judging.catalogue.table import ROWS
from suite.measuring.attainment import Attainment
from suite.measuring.user_influences import by_user, correlation

USER = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])  # two repeats each
ATTAINED = np.array([1, 3, 4, 4, 0, 2, 5, 6, 2, 1])
PLANNED = np.array([4, 4, 5, 5, 3, 3, 6, 6, 2, 2])
HEADROOM = np.linspace(0.1, 0.8, len(USER)) ** 2


def attainment() -> Attainment:
    return Attainment(
        user_id=USER.astype(str).astype(object),
        user_class=np.full(len(USER), "a", dtype=object),
        repeat=np.tile([1, 2], 5),
        num_planned_turns=PLANNED,
        num_attained_turns=ATTAINED,
        is_within_slo=ATTAINED / PLANNED >= 0.75,
        is_within_uncapped=ATTAINED / PLANNED >= 0.5,
    )


def weighted_mean(values, weights):
    return weights @ values / weights.sum()


def weighted_jain(weights):
    shares = ATTAINED / PLANNED
    return (weights @ shares) ** 2 / (weights.sum() * (weights @ shares**2))


def weighted_gini(weights):
    shares = ATTAINED / PLANNED
    apart = np.abs(shares[:, None] - shares)
    return weights @ apart @ weights / (2 * weights.sum() * (weights @ shares))


NUMBERS = {
    "slo.users_within_slo_ratio": lambda w: weighted_mean(ATTAINED / PLANNED >= 0.75, w),
    "slo.users_within_slo_uncapped_ratio": lambda w: weighted_mean(ATTAINED / PLANNED >= 0.5, w),
    "slo.turn_attainment_ratio": lambda w: (w @ ATTAINED) / (w @ PLANNED),
    "fairness.mean_user_attainment_ratio": lambda w: weighted_mean(ATTAINED / PLANNED, w),
    "fairness.headroom_mean_ratio": lambda w: weighted_mean(HEADROOM, w),
    "fairness.jain_index": weighted_jain,
    "fairness.gini_index": weighted_gini,
}


def influences_on(metric, labels=USER, num_users=5):
    return by_user(ROWS[metric].influences(attainment(), HEADROOM), labels, num_users)


@pytest.mark.parametrize("metric", NUMBERS)
def test_influences_are_derivatives_up_to_a_factor(metric):
    number, step = NUMBERS[metric], 1e-6
    numeric = [
        (number(1 + step * (user == USER)) - number(np.ones(len(USER)))) / step for user in range(5)
    ]
    found = influences_on(metric)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    factor = found[0] / numeric[0]
    assert factor > 0
    assert found == pytest.approx(factor * np.array(numeric), rel=1e-3, abs=1e-5)


def test_a_fifth_percentile_is_moved_by_those_below_it_and_those_above():
    """Shares 0, 1/4, 1/2 …: only the repeat with nothing is at most P5."""
    found = influences_on("fairness.p5_user_attainment_ratio")
    assert found == pytest.approx(np.array([-0.2, -0.2, 0.8, -0.2, -0.2]))


def test_users_who_are_not_asked_for_weigh_nothing():
    found = influences_on("fairness.jain_index", USER + 1, 7)
    assert found[[0, 6]].tolist() == [0, 0]


def test_every_metric_that_pairs_by_user_is_proved_here():
    of_users = {name for name, row in ROWS.items() if row.pairs_by == "user"}
    assert of_users == {*NUMBERS, "fairness.p5_user_attainment_ratio"}


def test_a_correlation_is_that_of_numpy_and_0_without_spread():
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=(2, 40))
    one, other = one - one.mean(), other - other.mean()
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert correlation(one, one) == pytest.approx(1)
    assert correlation(one, np.zeros(40)) == 0
