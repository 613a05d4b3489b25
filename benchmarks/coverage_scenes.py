"""What coverage.py draws samples from, and the interval that each draw is given.

A scene is a number with a known true value: shapes (of conversations' times, of users' attainment)
are crossed with numbers, sizes and statistics. True values are closed forms where there are any,
else those of four million conversations or users.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import exp, log

import numpy as np
from scipy import special

from suite.bootstrap import draws, interval_of, levels_around, mean_draws, percentile_draws
from suite.bootstrap_t import mean_interval
from suite.compare import MIN_ON_EACH_SIDE, paired_interval
from suite.fairness import gini_index, jain_index
from suite.intervals import (
    Clusters,
    between_runs_interval,
    clustered_percentile,
    combined_ratio,
    percentile_interval,
    share_interval,
)
from suite.metric_names import Metric, Number
from suite.quantiles import Floats, Interval, quantile
from suite.user_intervals import gini_interval, jain_interval, mean_share_interval, p5_interval

Rng = np.random.Generator
Labels = np.ndarray
Trial = Callable[[Rng], tuple[Interval | None, float]]  # (the interval, what it should hold)
Turns = Callable[[Rng, int], tuple[Floats, Labels]]  # (values, the conversation of each)
Users = Callable[[Rng, int], Floats]  # a share of each user
MANY = 1_000_000
SLOWER = 1.1  # the second engine of a ratio


# Times: how conversations differ, and how turns or gaps within one do.


def conversations(rng: Rng, num: int, mean_size: float) -> tuple[Labels, Floats]:
    """(the conversation of each sample, log-normal levels of the conversations)."""
    return np.repeat(np.arange(num), rng.geometric(1 / mean_size, num)), rng.normal(0, 0.4, num)


def lognormal_turns(rng: Rng, num: int) -> tuple[Floats, Labels]:
    labels, level = conversations(rng, num, 5)
    return np.exp(level[labels] + rng.normal(0, 0.5, len(labels))), labels


def pareto_turns(rng: Rng, num: int) -> tuple[Floats, Labels]:
    """Tail index 2: no variance."""
    labels, level = conversations(rng, num, 5)
    return np.exp(level[labels]) * pareto(rng.random(len(labels))), labels


def class_turns(rng: Rng, num: int) -> tuple[Floats, Labels]:
    """Two humps: one user in five is of a class that takes five times as long."""
    labels, level = conversations(rng, num, 5)
    level += np.where(rng.random(num) < 0.2, log(5), 0)
    return np.exp(level[labels] + rng.normal(0, 0.4, len(labels))), labels


def stalled_turns(rng: Rng, num: int) -> tuple[Floats, Labels]:
    """Any turn may wait for a swap-in: one in ten takes 3 more, whosever it is."""
    values, labels = lognormal_turns(rng, num)
    return values + 3 * (rng.random(len(labels)) < 0.1), labels


def lognormal_gaps(rng: Rng, num: int) -> tuple[Floats, Labels]:
    labels, level = conversations(rng, num, 500 if num < 1000 else 50)
    return np.exp(level[labels] + rng.normal(0, 0.3, len(labels))), labels


def stalled_gaps(rng: Rng, num: int) -> tuple[Floats, Labels]:
    """Some conversations are preempted: up to 8 % of their gaps are thirty times as long."""
    labels, level = conversations(rng, num, 500 if num < 1000 else 50)
    chance = 0.08 * rng.beta(0.5, 1, num)
    is_stall = rng.random(len(labels)) < chance[labels]
    return np.exp(0.5 * level[labels] + log(30) * is_stall), labels


TURNS: dict[str, Turns] = {
    "log-normal": lognormal_turns,
    "Pareto": pareto_turns,
    "two classes": class_turns,
    "stalled": stalled_turns,
}
GAPS: dict[str, Turns] = {"log-normal": lognormal_gaps, "stalled": stalled_gaps}


def lognormal(q: Floats) -> Floats:
    return np.exp(special.ndtri(q))


def pareto(q: Floats) -> Floats:
    return (1 - q) ** -0.5


@cache
def true_values(make: Turns) -> dict[float | None, float]:
    """By level, None = mean. The mean is that of a sample, so a ratio of totals."""
    values, _ = make(np.random.default_rng(0), MANY // (1 if make in TURNS.values() else 5))
    ascending = np.sort(values)
    return {
        None: float(values.mean()),
        **{q: quantile(ascending, q) for q in (0.5, 0.95, 0.99)},
    }


def independent(ppf: Callable[[Floats], Floats], num: int, q: float) -> Trial:
    truth = float(ppf(np.array(q)))

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        return percentile_interval(np.sort(ppf(rng.random(num))), q, num, num), truth

    return trial


def percentile(make: Turns, num: int, q: float, *, is_naive: bool = False) -> Trial:
    """`is_naive`: all samples taken as independent."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        values, labels = make(rng, num)
        clusters = Clusters.of(np.arange(len(values)) if is_naive else labels)
        return clustered_percentile(values, np.sort(values), q, clusters)[1], true_values(make)[q]

    return trial


def mean(make: Turns, num: int) -> Trial:
    def trial(rng: Rng) -> tuple[Interval | None, float]:
        values, labels = make(rng, num)
        clusters = Clusters.of(labels)
        return mean_interval(clusters.sums(values), clusters.sizes), true_values(make)[None]

    return trial


def ratio(num: int, q: float | None) -> Trial:
    """Paired: two engines on the same conversations, whose levels they share. q None = of means."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        labels, level = conversations(rng, num, 5)
        noise = rng.normal(0, 0.5, (2, len(labels)))
        clusters, counts, columns = Clusters.of(labels), draws(num), np.arange(num)
        found, numbers = [], []
        for values in np.exp(level[labels] + noise) * np.array([[SLOWER], [1.0]]):
            if q is None:
                numbers.append(Number(value=float(values.mean())))
                sums = clusters.sums(values)
                found.append(mean_draws(sums, clusters.sizes, columns, counts))
                continue
            ascending = np.sort(values)
            effective, _ = clustered_percentile(values, ascending, q, clusters)
            numbers.append(Number(value=quantile(ascending, q), num_effective=effective))
            levels = levels_around(values, clusters, q)
            found.append(percentile_draws(values, clusters, columns, counts, levels))
        resampled = interval_of(found[0] / found[1])
        assert resampled is not None
        metric = Metric("e2e.mean" if q is None else f"e2e.p{100 * q:g}")
        return paired_interval(resampled, metric, *numbers), SLOWER

    return trial


def unpaired_ratio(num: int, q: float | None) -> Trial:
    """Two runs of different conversations."""

    def one(rng: Rng, slower: float) -> tuple[float, Interval]:
        values, labels = lognormal_turns(rng, num)
        values, clusters = values * slower, Clusters.of(labels)
        if q is None:
            interval = mean_interval(clusters.sums(values), clusters.sizes)
            assert interval is not None
            return float(values.mean()), interval
        ascending = np.sort(values)
        return quantile(ascending, q), clustered_percentile(values, ascending, q, clusters)[1]

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        return combined_ratio(*one(rng, SLOWER), *one(rng, 1.0)), SLOWER

    return trial


def between_runs(num_runs: int) -> Trial:
    """Runs whose means differ by 10 %, log-normal."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        return between_runs_interval(np.exp(rng.normal(0, 0.1, num_runs))), exp(0.1**2 / 2)

    return trial


# Users: what share of their turns attained.


def beta_attainment(rng: Rng, num: int) -> Floats:
    return rng.beta(8, 1, num)


def mostly_whole_attainment(rng: Rng, num: int) -> Floats:
    """Four of five attain 99 % of their turns, the others two thirds."""
    chance = np.where(rng.random(num) < 0.2, rng.beta(4, 2, num), 0.99)
    return _of_turns(rng, chance)


def starved_attainment(rng: Rng, num: int) -> Floats:
    """One in five gets next to nothing."""
    return _of_turns(rng, np.where(rng.random(num) < 0.2, 0.1, 0.95))


def class_attainment(rng: Rng, num: int) -> Floats:
    """Two humps: half of the users are of a class that is served much worse."""
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
Statistic = tuple[Callable[[Floats], float | None], Callable[[Floats, np.ndarray], Interval | None]]
OF_USERS: dict[str, Statistic] = {
    "jain": (jain_index, jain_interval),
    "gini": (gini_index, gini_interval),
    "mean attainment": (lambda shares: float(shares.mean()), mean_share_interval),
    "P5 attainment": (lambda shares: quantile(np.sort(shares), 0.05), p5_interval),
}


@cache
def true_value_of_users(make: Users, name: str) -> float:
    value = OF_USERS[name][0](make(np.random.default_rng(0), 4 * MANY))
    assert value is not None
    return value


def of_users(make: Users, name: str, num: int) -> Trial:
    def trial(rng: Rng) -> tuple[Interval | None, float]:
        shares = make(rng, num)
        return OF_USERS[name][1](shares, np.arange(num)), true_value_of_users(make, name)

    return trial


def share(num_users: int) -> Trial:
    """Users within SLO: another true share each time, from 0.5 to 0.99, for a count of users has
    few values and at a single true share no interval can hold as often as stated."""

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


def share_ratio(num_users: int) -> Trial:
    """Users within SLO of two engines, paired by user; as compare.py does it."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        patience = rng.random(num_users)  # what is enough for one engine mostly is for the other
        better = np.where(rng.random(num_users) < 0.3, rng.random(num_users), patience) < 0.9
        worse = patience < 0.7
        if min(each.sum() for each in (better, ~better, worse, ~worse)) < MIN_ON_EACH_SIDE:
            intervals = [
                share_interval(each.astype(float), np.ones(num_users)) for each in (better, worse)
            ]
            assert intervals[0] is not None
            assert intervals[1] is not None
            found = combined_ratio(better.mean(), intervals[0], worse.mean(), intervals[1])
            return found, 0.9 / 0.7
        counts = draws(num_users)
        return interval_of((counts @ better) / (counts @ worse)), 0.9 / 0.7

    return trial
