"""How often the 95 % intervals hold the true value: by simulation, where the truth is known.

    python -m benchmarks.coverage [--trials 1000]

`independent`: one sample a conversation, log-normal and Pareto (tail index 2) tails. `turns` and
`gaps`: conversations have a level of their own (log-normal, sigma 0.4) under which turns (sigma
0.5, mean 5 a conversation) or gaps (sigma 0.3, mean 500) scatter; the true quantile is that of the
mixture. `naive` treats all samples as independent, which is what the clusters are for. `ratio`: two
engines on the same conversations, the second 1.1 times slower, paired bootstrap. `share`: users
within SLO. `jain`: users' attainment drawn from a beta distribution.

An open end holds whatever lies on its side; `open` is how many intervals had one. An exact interval
for a discrete count covers at least 95 %, as a rule 95 to 97. What lies below 93 stands in the
table as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import exp, sqrt

import numpy as np
from scipy import special

from benchmarks.results import print_table, write_result
from suite.bootstrap import draws, interval_of, jain_interval, mean_draws, percentile_draws
from suite.intervals import (
    Clusters,
    effective_samples,
    mean_interval,
    percentile_interval,
    share_interval,
)
from suite.quantiles import Floats, Interval, quantile

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
        return holds(percentile_interval(ascending, q, num), float(ppf(np.array(q))))

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
        return holds(percentile_interval(ascending, q, effective), truth)

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
        found = []
        for values in (np.exp(slower), np.exp(logs)):
            if q is None:
                sums = clusters.sums(values)
                found.append(mean_draws(sums, clusters.sizes, columns, counts))
            else:
                found.append(percentile_draws(values, clusters, columns, counts, q))
        return holds(interval_of(found[0] / found[1]), 1.1)

    return trial


def share(num_users: int, truth: float) -> Trial:
    def trial(rng: Rng) -> tuple[bool, bool]:
        within = (rng.random(num_users) < truth).astype(float)
        return holds(share_interval(within, np.ones(num_users)), truth)

    return trial


def jain(num_users: int) -> Trial:
    first, second = 8.0, 1.0
    mean = first / (first + second)
    square = mean * (first + 1) / (first + second + 1)

    def trial(rng: Rng) -> tuple[bool, bool]:
        attained = rng.beta(first, second, num_users)
        counts = draws(num_users)
        found = (counts @ attained) ** 2 / (num_users * (counts @ attained**2))
        observed = float(attained.sum() ** 2 / (num_users * (attained**2).sum()))
        return holds(jain_interval(found, observed, num_users), mean**2 / square)

    return trial


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
    **{f"turns mean, {num} conversations": mean_of_turns(num) for num in (50, 200)},
    **{
        f"ratio {'mean' if q is None else f'P{100 * q:g}'}, {num} conversations": ratio(num, q)
        for num in (50, 200)
        for q in (None, 0.5, 0.95, 0.99)
    },
    **{f"share 0.9, {num} users": share(num, 0.9) for num in (40, 200)},
    **{f"jain, {num} users": jain(num) for num in (40, 200)},
}


def coverage(trial: Trial, num_trials: int, seed: int) -> tuple[float, float]:
    """(share of intervals that held the truth, share of those with an open end)."""
    found = [trial(np.random.default_rng([seed, number])) for number in range(num_trials)]
    held, is_open = zip(*found, strict=True)
    return sum(held) / num_trials, sum(is_open) / num_trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    arguments = parser.parse_args()
    results = {}
    rows = []
    for name, trial in SCENES.items():
        covered, open_ratio = coverage(trial, arguments.trials, seed=7)
        results[name] = {"coverage": covered, "open_ratio": open_ratio}
        rows.append((name, f"{covered:.1%}", f"{open_ratio:.1%}"))
        print_table(
            ("intervals that hold the truth", "covered", "open"), rows[-1:], has_header=False
        )
    print()
    print_table(("intervals that hold the truth", "covered", "open"), rows)
    write_result("coverage", settings={"trials": arguments.trials}, results=results)


if __name__ == "__main__":
    main()
