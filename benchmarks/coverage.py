"""How often the 95 % intervals hold the true value: by simulation, where the truth is known.

    python -m benchmarks.coverage [--trials 1000]

`independent`: one sample a conversation, log-normal and Pareto (tail index 2) tails. `turns` and
`gaps`: conversations have a level of their own (log-normal, sigma 0.4) under which turns (sigma
0.5, mean 5 a conversation) or gaps (sigma 0.3, mean 500, with 1,000 conversations 50) scatter; the
true quantile is that of the mixture. `naive` treats all samples as independent, which is what the
clusters are for. `ratio`: two engines on the same conversations, the second 1.1 times slower,
paired bootstrap. `share`: users within SLO. `jain`: users' attainment drawn from a beta
distribution, or (`mostly whole`) four of five users who attain 99 % of their turns beside one who
attains two thirds.

An open end holds whatever lies on its side; `open` is how many intervals had one, so `covered` is
above 95 % where many are: an end alone is missed in 2.5 %. `closed` is the coverage of the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import exp, sqrt

import numpy as np
from scipy import special

from benchmarks.results import print_table, write_result
from suite.bootstrap import draws, interval_of, levels_around, mean_draws, percentile_draws
from suite.bootstrap_t import mean_interval
from suite.compare import paired_interval
from suite.intervals import (
    Clusters,
    effective_samples,
    percentile_interval,
    share_interval,
)
from suite.metric_names import Metric, Number
from suite.quantiles import Floats, Interval, quantile
from suite.statistics import summarise
from suite.user_draws import jain_interval

Rng = np.random.Generator
Trial = Callable[[Rng], tuple[bool, bool]]  # (the interval held the truth, an end was open)


def holds(interval: Interval | None, truth: float) -> tuple[bool, bool]:
    """An open end holds whatever lies on its side."""
    assert interval is not None
    low, high = interval.low, interval.high
    is_held = (low is None or low <= truth) and (high is None or truth <= high)
    return is_held, None in (low, high)


def independent(ppf: Callable[[Floats], Floats], num: int, q: float) -> Trial:
    def trial(rng: Rng) -> tuple[bool, bool]:
        ascending = np.sort(ppf(rng.random(num)))
        return holds(percentile_interval(ascending, q, num, num), float(ppf(np.array(q))))

    return trial


def sample_clusters(
    rng: Rng, num_clusters: int, mean_size: float, sigma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(logarithms of samples, their clusters, the clusters' levels)."""
    sizes = rng.geometric(1 / mean_size, num_clusters)
    level = rng.normal(0, 0.4, num_clusters)
    labels = np.repeat(np.arange(num_clusters), sizes)
    return level[labels] + rng.normal(0, sigma, len(labels)), labels, level


def clustered(
    num_clusters: int, mean_size: float, sigma: float, q: float, *, is_naive: bool = False
) -> Trial:
    truth = exp(special.ndtri(q) * sqrt(0.4**2 + sigma**2))

    def trial(rng: Rng) -> tuple[bool, bool]:
        logs, labels, _ = sample_clusters(rng, num_clusters, mean_size, sigma)
        values = np.exp(logs)
        ascending = np.sort(values)
        clusters = Clusters.of(labels)
        hits = clusters.sums(values <= quantile(ascending, q))
        effective = len(values) if is_naive else effective_samples(hits, clusters.sizes)
        return holds(percentile_interval(ascending, q, effective, num_clusters), truth)

    return trial


def mean_of_turns(num_clusters: int) -> Trial:
    truth = exp((0.4**2 + 0.5**2) / 2)

    def trial(rng: Rng) -> tuple[bool, bool]:
        logs, labels, _ = sample_clusters(rng, num_clusters, 5, 0.5)
        clusters = Clusters.of(labels)
        return holds(mean_interval(clusters.sums(np.exp(logs)), clusters.sizes), truth)

    return trial


def ratio(num_clusters: int, q: float | None) -> Trial:
    """q None = of means."""

    def trial(rng: Rng) -> tuple[bool, bool]:
        logs, labels, level = sample_clusters(rng, num_clusters, 5, 0.5)
        slower = np.log(1.1) + level[labels] + rng.normal(0, 0.5, len(labels))
        counts, columns = draws(num_clusters), np.arange(num_clusters)
        clusters = Clusters.of(labels)
        found, numbers = [], []
        for values in (np.exp(slower), np.exp(logs)):
            summary = summarise(values, labels)
            numbers.append(Number(value=summary.mean))
            if q is None:
                sums = clusters.sums(values)
                found.append(mean_draws(sums, clusters.sizes, columns, counts))
                continue
            name = f"p{100 * q:g}"
            numbers[-1] = Number(
                value=quantile(np.sort(values), q), num_effective=summary.num_effective[name]
            )
            levels = levels_around(values, clusters, q)
            found.append(percentile_draws(values, clusters, columns, counts, levels))
        resampled = interval_of(found[0] / found[1])
        assert resampled is not None
        metric = Metric("e2e.mean" if q is None else f"e2e.p{100 * q:g}")
        return holds(paired_interval(resampled, metric, *numbers), 1.1)

    return trial


def share(num_users: int, truth: float) -> Trial:
    def trial(rng: Rng) -> tuple[bool, bool]:
        within = (rng.random(num_users) < truth).astype(float)
        return holds(share_interval(within, np.ones(num_users)), truth)

    return trial


def jain(num_users: int, attained: Callable[[Rng, int], Floats]) -> Trial:
    many = attained(np.random.default_rng(0), 4_000_000)
    truth = float(many.mean() ** 2 / np.square(many).mean())

    def trial(rng: Rng) -> tuple[bool, bool]:
        return holds(jain_interval(attained(rng, num_users), np.arange(num_users)), truth)

    return trial


def beta_attainment(rng: Rng, num_users: int) -> Floats:
    return rng.beta(8, 1, num_users)


def mostly_whole_attainment(rng: Rng, num_users: int) -> Floats:
    num_turns = rng.geometric(1 / 5, num_users)
    chance = np.where(rng.random(num_users) < 0.2, rng.beta(4, 2, num_users), 0.99)
    found: Floats = rng.binomial(num_turns, chance) / num_turns
    return found


def lognormal(q: Floats) -> Floats:
    return np.exp(special.ndtri(q))


def pareto(q: Floats) -> Floats:
    return (1 - q) ** -0.5


SCENES: dict[str, Trial] = {
    **{
        f"independent {name} P{100 * q:g}, {num:,} samples": independent(ppf, num, q)
        for name, ppf in (("lognormal", lognormal), ("Pareto", pareto))
        for q, num in ((0.5, 200), (0.95, 500), (0.99, 500), (0.99, 5000))
    },
    **{
        f"turns P{100 * q:g}, {num} conversations{', naive' * is_naive}": clustered(
            num, 5, 0.5, q, is_naive=is_naive
        )
        for num in (50, 200, 1000)
        for q in (0.5, 0.95, 0.99)
        for is_naive in (False, True)
    },
    **{
        f"gaps P{100 * q:g}, {num} conversations{', naive' * is_naive}": clustered(
            num, 500, 0.3, q, is_naive=is_naive
        )
        for num in (50, 200)
        for q in (0.5, 0.99)
        for is_naive in (False, True)
    },
    "gaps P99, 1000 conversations": clustered(1000, 50, 0.3, 0.99),
    **{f"turns mean, {num} conversations": mean_of_turns(num) for num in (50, 200)},
    **{
        f"ratio {'mean' if q is None else f'P{100 * q:g}'}, {num} conversations": ratio(num, q)
        for num in (50, 200)
        for q in (None, 0.5, 0.95, 0.99)
    },
    **{f"share 0.9, {num} users": share(num, 0.9) for num in (40, 200)},
    **{
        f"jain {name}, {num} users": jain(num, attained)
        for name, attained in (
            ("beta", beta_attainment),
            ("mostly whole", mostly_whole_attainment),
        )
        for num in (40, 200)
    },
}


def coverage(trial: Trial, num_trials: int, seed: int) -> dict[str, float | None]:
    """Shares: of all that held the truth, of open ones, and of the others that held the truth."""
    found = [trial(np.random.default_rng([seed, number])) for number in range(num_trials)]
    closed = [is_held for is_held, is_open in found if not is_open]
    return {
        "coverage": sum(is_held for is_held, _ in found) / num_trials,
        "open_ratio": 1 - len(closed) / num_trials,
        "closed_coverage": sum(closed) / len(closed) if closed else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    arguments = parser.parse_args()
    results = {}
    rows = []
    for name, trial in SCENES.items():
        results[name] = coverage(trial, arguments.trials, seed=7)
        shown = ("-" if each is None else f"{each:.1%}" for each in results[name].values())
        rows.append((name, *shown))
        print(*rows[-1], sep="  ", flush=True)
    print()
    print_table(("intervals that hold the truth", "covered", "open", "closed"), rows)
    write_result("coverage", settings={"trials": arguments.trials}, results=results)


if __name__ == "__main__":
    main()
