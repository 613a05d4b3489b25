"""What coverage.py draws times from, and the interval that each draw is given.

A scene is a number with a known true value: shapes of conversations' times are crossed with sizes
and statistics. True values are closed forms where there are any, else those of a million
conversations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import exp, log

import numpy as np
from scipy import special

from suite.judging.catalogue.table import Metric
from suite.judging.look_up import Number
from suite.judging.ratios import paired_interval
from suite.statistics.arrays import Floats
from suite.statistics.bootstrap import draws, interval_of, levels_around, percentile_draws
from suite.statistics.bootstrap_t import mean_interval, mean_ratio_interval
from suite.statistics.intervals import (
    Clusters,
    clustered_percentile,
    percentile_interval,
)
from suite.statistics.quantiles import Interval, quantile
from suite.statistics.ratio_intervals import combined_ratio
from suite.statistics.student import mean_of_repeats_interval

Rng = np.random.Generator
Labels = np.ndarray
Trial = Callable[[Rng], tuple[Interval | None, float]]  # (the interval, what it should hold)
Turns = Callable[[Rng, int], tuple[Floats, Labels]]  # (values, the conversation of each)
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
    """Draws turns from a Pareto tail of index 2, which has no variance."""
    labels, level = conversations(rng, num, 5)
    return np.exp(level[labels]) * pareto(rng.random(len(labels))), labels


def class_turns(rng: Rng, num: int) -> tuple[Floats, Labels]:
    """Draws turns in two humps: one user in five is of a class that takes five times as long."""
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
    """Returns the true quantiles by level; None stands for the mean, a ratio of totals."""
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
    """Returns a trial of one percentile's interval from its own samples alone: an open end that is
    taken from another percentile misses no more often than there. `is_naive` takes all samples
    as independent."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        values, labels = make(rng, num)
        clusters = Clusters.from_labels(np.arange(len(values)) if is_naive else labels)
        return clustered_percentile(values, np.sort(values), q, clusters)[1], true_values(make)[q]

    return trial


def mean(make: Turns, num: int) -> Trial:
    def trial(rng: Rng) -> tuple[Interval | None, float]:
        values, labels = make(rng, num)
        clusters = Clusters.from_labels(labels)
        return mean_interval(clusters.sums(values), clusters.sizes), true_values(make)[None]

    return trial


def mean_ratio(make: Callable[[Rng, Floats], Floats], num: int) -> Trial:
    """Returns a trial of two engines on the same conversations, whose levels they share."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        labels, level = conversations(rng, num, 5)
        both = [make(rng, level[labels]) * slower for slower in (SLOWER, 1.0)]
        clusters = Clusters.from_labels(labels)
        totals = [np.stack([clusters.sizes, clusters.sums(each)], axis=1) for each in both]
        found = mean_ratio_interval(*totals)
        assert found is not None
        numbers = [Number(value=float(each.mean())) for each in both]
        return paired_interval(found, Metric("e2e.mean"), *numbers), SLOWER

    return trial


RATIOS: dict[str, Callable[[Rng, Floats], Floats]] = {
    "log-normal": lambda rng, level: np.exp(level + rng.normal(0, 0.5, len(level))),
    "Pareto": lambda rng, level: np.exp(level) * pareto(rng.random(len(level))),
    "stalled": lambda rng, level: (
        np.exp(level + rng.normal(0, 0.5, len(level))) + 3 * (rng.random(len(level)) < 0.1)
    ),
}


def percentile_ratio(num: int, q: float) -> Trial:
    """Paired, of log-normal times."""

    def trial(rng: Rng) -> tuple[Interval | None, float]:
        labels, level = conversations(rng, num, 5)
        noise = rng.normal(0, 0.5, (2, len(labels)))
        clusters, counts, columns = Clusters.from_labels(labels), draws(num), np.arange(num)
        found, numbers = [], []
        for values in np.exp(level[labels] + noise) * np.array([[SLOWER], [1.0]]):
            ascending = np.sort(values)
            effective, _ = clustered_percentile(values, ascending, q, clusters)
            numbers.append(Number(value=quantile(ascending, q), num_effective=effective))
            levels = levels_around(values, clusters, q)
            found.append(percentile_draws(values, clusters, columns, counts, levels))
        resampled = interval_of(found[0] / found[1])
        assert resampled is not None
        return paired_interval(resampled, Metric(f"e2e.p{100 * q:g}"), *numbers), SLOWER

    return trial


def unpaired_ratio(num: int, q: float | None) -> Trial:
    """Two runs of different conversations."""

    def one(rng: Rng, slower: float) -> tuple[float, Interval]:
        values, labels = lognormal_turns(rng, num)
        values, clusters = values * slower, Clusters.from_labels(labels)
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
        return mean_of_repeats_interval(np.exp(rng.normal(0, 0.1, num_runs))), exp(0.1**2 / 2)

    return trial
