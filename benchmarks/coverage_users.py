"""What coverage.py draws users' attainment from, and the interval that each draw is given.

As coverage_scenes.py, of users: true values are closed forms where there are any, else those of
millions of users.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from benchmarks.coverage_scenes import MANY, Rng, Trial
from suite.judging.catalogue.table import ROWS
from suite.measuring.attainment import Attainment
from suite.measuring.fairness import gini_index, jain_index
from suite.measuring.user_influences import by_user, correlation
from suite.measuring.user_intervals import (
    gini_interval,
    jain_interval,
    mean_share_interval,
    p5_interval,
)
from suite.statistics.arrays import Floats
from suite.statistics.quantiles import Interval, quantile
from suite.statistics.ratio_intervals import combined_ratio
from suite.statistics.shares import share_interval

Users = Callable[[Rng, int], Floats]  # a share of each user
HARDER = 1.6  # the second engine of a ratio: a turn that attains by chance p does by p^1.6


def beta_attainment(rng: Rng, num: int) -> Floats:
    return rng.beta(8, 1, num)


def mostly_whole_attainment(rng: Rng, num: int) -> Floats:
    """Four of five attain 99 % of their turns, the others two thirds."""
    return _of_turns(rng, CHANCES["mostly whole"](rng, num))


def starved_attainment(rng: Rng, num: int) -> Floats:
    """One in five gets next to nothing."""
    return _of_turns(rng, CHANCES["some starved"](rng, num))


def class_attainment(rng: Rng, num: int) -> Floats:
    """Draws attainment in two humps: half of the users are of a class that is served much worse."""
    return np.where(rng.random(num) < 0.5, rng.beta(9, 1, num), rng.beta(2, 2, num))


def _of_turns(rng: Rng, chance: Floats) -> Floats:
    num_turns = rng.geometric(1 / 5, len(chance))
    found: Floats = rng.binomial(num_turns, chance) / num_turns
    return found


USERS: dict[str, Users] = {
    "beta": beta_attainment,
    "mostly whole": mostly_whole_attainment,
    "some starved": starved_attainment,
    "two classes": class_attainment,
}
CHANCES: dict[str, Users] = {
    "beta": beta_attainment,
    "mostly whole": lambda rng, num: np.where(rng.random(num) < 0.2, rng.beta(4, 2, num), 0.99),
    "some starved": lambda rng, num: np.where(rng.random(num) < 0.2, 0.1, 0.95),
    "two classes": class_attainment,
}
Statistic = tuple[
    str, Callable[[Floats], float | None], Callable[[Floats, np.ndarray], Interval | None]
]
OF_USERS: dict[str, Statistic] = {
    "jain": ("fairness.jain_index", jain_index, jain_interval),
    "gini": ("fairness.gini_index", gini_index, gini_interval),
    "mean attainment": (
        "fairness.mean_user_attainment_ratio",
        lambda shares: float(shares.mean()),
        mean_share_interval,
    ),
    "P5 attainment": (
        "fairness.p5_user_attainment_ratio",
        lambda shares: quantile(np.sort(shares), 0.05),
        p5_interval,
    ),
}


@cache
def true_value_of_users(make: Users, name: str) -> float:
    value = OF_USERS[name][1](make(np.random.default_rng(0), 4 * MANY))
    assert value is not None
    return value


def of_users(make: Users, name: str, num: int) -> Trial:
    def trial(rng: Rng) -> tuple[Interval | None, float]:
        shares = make(rng, num)
        return OF_USERS[name][2](shares, np.arange(num)), true_value_of_users(make, name)

    return trial


def share(num_users: int) -> Trial:
    """Returns a trial of the share of users within SLO. The true share is another each time, from
    0.5 to 0.99: a count of users has few values, and at a single true share no interval can hold
    as often as stated."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        truth = rng.uniform(0.5, 0.99)
        within = (rng.random(num_users) < truth).astype(float)
        return share_interval(within, np.ones(num_users)), truth

    return trial


def share_of_turns(num_users: int) -> Trial:
    """Turns that attained; users differ. Every true share from 0.5 to 0.99."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        truth = rng.uniform(0.5, 0.99)
        num_turns = rng.geometric(1 / 5, num_users).astype(float)
        chance = rng.beta(4 * truth, 4 * (1 - truth), num_users)
        attained = rng.binomial(num_turns.astype(int), chance).astype(float)
        return share_interval(attained, num_turns), truth

    return trial


def share_ratio(num_users: int, *, alike: float, better: float, worse: float) -> Trial:
    """Returns a trial of the ratio of two engines' users within SLO, paired by user. A user who is
    patient enough for one engine is so for the other, but for a share of 1 − `alike` of them;
    `better` and `worse` are the true shares."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        patience = rng.random(num_users)
        other = np.where(rng.random(num_users) < alike, patience, rng.random(num_users))
        is_within = other < better, patience < worse
        found = [share_interval(each * 1.0, np.ones(num_users)) for each in is_within]
        influences = [
            influences_on("slo.users_within_slo_ratio", attainment(each, 1)) for each in is_within
        ]
        shares: list[float | None] = [float(each.mean()) for each in is_within]
        return _paired(shares, found, influences), better / worse

    return trial


def ratio_of_users(shape: str, name: str, num_users: int) -> Trial:
    """Returns a trial of two engines that serve the same users with the same turns."""
    metric, value_of, interval_of = OF_USERS[name]

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        attained, num_turns = both_attained(shape, rng, num_users)
        labels = np.arange(num_users)
        users = [attainment(each, num_turns) for each in attained]
        values = [value_of(each.ratio) for each in users]
        found = [interval_of(each.ratio, labels) for each in users]
        influences = [influences_on(metric, each) for each in users]
        return _paired(values, found, influences), true_ratio(shape, name)

    return trial


def influences_on(metric: str, users: Attainment) -> Floats:
    """[num_users]; each row of `users` is one user."""
    influences = ROWS[metric].influences
    assert influences is not None
    return by_user(influences(users, users.ratio), np.arange(len(users.repeat)), len(users.repeat))


def _paired(
    values: list[float | None], found: list[Interval | None], influences: list[Floats]
) -> Interval:
    """As suite/judging/ratios.py does it; where there is no number, nothing is said."""
    if not all(values):
        return Interval(low=None, high=None)
    (one, other), (interval, base), (mine, others) = values, found, influences
    assert one is not None and other is not None and interval is not None and base is not None
    return combined_ratio(one, interval, other, base, correlation(mine, others))


def both_attained(shape: str, rng: Rng, num: int) -> tuple[list[Floats], Floats]:
    """(turns that attained under each engine, turns), a row a user."""
    chance, num_turns = CHANCES[shape](rng, num), rng.geometric(1 / 5, num)
    return [rng.binomial(num_turns, each) for each in (chance, chance**HARDER)], num_turns


@cache
def true_ratio(shape: str, name: str) -> float:
    attained, num_turns = both_attained(shape, np.random.default_rng(0), 2 * MANY)
    one, other = (OF_USERS[name][1](each / num_turns) for each in attained)
    assert one and other
    return one / other


def attainment(attained: Floats, num_turns: Floats | int) -> Attainment:
    num = len(attained)
    return Attainment(
        user_id=np.arange(num).astype(object),
        user_class=np.full(num, "all", dtype=object),
        repeat=np.ones(num, dtype=np.int64),
        num_planned_turns=np.broadcast_to(np.asarray(num_turns, dtype=np.int64), num),
        num_attained_turns=attained.astype(np.int64),
        is_within_slo=attained.astype(bool),
        is_within_uncapped=attained.astype(bool),
    )
