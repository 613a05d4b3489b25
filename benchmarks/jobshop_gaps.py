"""Prints what dispatching policies lose on the 29 instances with proven optima, at every
probability of an interruption, beside figures measured with another simulator.

python -m benchmarks.jobshop_gaps [--repeats 10] [POLICY …]

A policy is a name of POLICIES; without one, all of them. A ratio is a makespan over the instance's
optimum without interruptions; means are over instances and repeats, intervals over instances.
"""

from __future__ import annotations

import argparse
from functools import cache
from time import process_time
from typing import Any

import numpy as np

from benchmarks.results import print_table, write_result
from engines.jobshop.play import play, warm_up
from engines.jobshop.policies import ANY_POLICY
from engines.jobshop.problem import Shop
from engines.jobshop.rules import RULES
from suite.jobshop.shops import shop_of
from workloads.jobshop.instances import load_set
from workloads.jobshop.plays import plan_plays
from workloads.jobshop.spec import InterruptionsSpec

SEED = 1
PROBABILITIES = [0.0, 0.05, 0.1, 0.2, 0.4]
INTERRUPTIONS = InterruptionsSpec(probability=PROBABILITIES)
POLICIES: dict[str, dict[str, Any]] = {
    **{rule: {"kind": "rule", "rule": rule} for rule in RULES},
    **{f"{rule}+bf": {"kind": "rule", "rule": rule, "blocked_first": True} for rule in RULES},
    "linear": {"kind": "linear"},
    "pilot-10": {"kind": "rollout", "samples": 10},
    "pilot-10-best": {"kind": "rollout", "samples": 10, "aim": "best", "blocked_first": True},
    "best-of-100": {"kind": "best-of", "samples": 100},
    "best-of-1000": {"kind": "best-of", "samples": 1000},
    "learned": {"kind": "gnn"},
    "learned-32": {"kind": "gnn", "samples": 32},
}
# Mean gaps without interruptions in percent, and ratios at PROBABILITIES, as another simulator of
# the same laws gave them; its rules broke ties in its own way.
ELSEWHERE_GAP = {
    "fifo": 47.9, "lifo": 46.5, "spt": 46.6, "lpt": 48.8, "stpt": 46.8, "ltpt": 46.3, "mor": 48.6,
    "lor": 45.5, "mwkr": 47.6, "lwkr": 48.2, "lqno": 47.5, "sqno": 45.9, "random": 48.7,
    "fifo+bf": 43.4, "mor+bf": 44.2, "mwkr+bf": 44.4, "pilot-10": 24.3, "best-of-100": 22.9,
    "best-of-1000": 16.9,
}  # fmt: skip
ELSEWHERE_RATIO = {
    "fifo": [1.479, 1.645, 1.734, 1.948, 2.368],
    "spt": [1.466, 1.601, 1.745, 1.929, 2.286],
    "mwkr": [1.476, 1.582, 1.708, 1.932, 2.319],
    "fifo+bf": [1.434, 1.572, 1.672, 1.893, 2.261],
}


def ratios_of(name: str, repeats: int) -> tuple[np.ndarray, float]:
    """Returns makespans over optima [instance, repeat, probability], and CPU time a decision."""
    policy = ANY_POLICY.validate_python(POLICIES[name]).build()
    warm_up(policy)
    shops = shops_to_play(repeats)
    ratios, decisions, begun = [], 0, process_time()
    for shop, seed, optimum in shops:
        record = play(shop, policy, seed)
        assert record.makespan >= optimum, (name, optimum)
        ratios.append(record.makespan / optimum)
        decisions += record.num_decisions
    spent = (process_time() - begun) / decisions
    return np.array(ratios).reshape(-1, repeats, len(PROBABILITIES)), spent


@cache
def shops_to_play(repeats: int) -> list[tuple[Shop, int, int]]:
    """Returns shop, seed and optimum of every play, in the plan's order."""
    plays = plan_plays(load_set("proven-29"), INTERRUPTIONS, repeats=repeats, seed=SEED)
    return [
        (
            shop_of(each.instance, each.interruptions, INTERRUPTIONS.length),
            each.seed,
            each.instance.optimum or 0,
        )
        for each in plays
    ]


def half_width(values: np.ndarray) -> float:
    """Returns half a 95 % interval of the mean over instances, each the mean of its repeats."""
    means = values.mean(axis=1)
    return float(1.96 * means.std(ddof=1) / np.sqrt(len(means)))


def row_of(name: str, repeats: int) -> dict[str, Any]:
    """Returns what the table says of one policy."""
    ratios, spent = ratios_of(name, repeats)
    means = ratios.mean(axis=(0, 1))
    by_seed = ratios[:, :, 0].mean(axis=0)
    return {
        "policy": name,
        "settings": POLICIES[name],
        "gap_ratio": float(means[0] - 1),
        "gap_standard_deviation_of_seeds": float(by_seed.std(ddof=1)) if repeats > 1 else None,
        "gap_elsewhere_percent": ELSEWHERE_GAP.get(name),
        "makespan_over_optimum": dict(zip(map(str, PROBABILITIES), means.tolist(), strict=True)),
        "half_interval": {
            str(each): half_width(ratios[:, :, place]) for place, each in enumerate(PROBABILITIES)
        },
        "elsewhere": ELSEWHERE_RATIO.get(name),
        "cpu_s_a_decision": spent,
        "ratios": np.round(ratios, 4).mean(axis=1).tolist(),  # [instance][probability]
    }


def cells_of(row: dict[str, Any]) -> list[str]:
    """Returns the row as text: the gap, and each ratio with half its interval."""
    ratios = [
        f"{value:.3f} ± {row['half_interval'][each]:.3f}"
        for each, value in row["makespan_over_optimum"].items()
    ]
    elsewhere = row["gap_elsewhere_percent"]
    return [
        row["policy"],
        f"{100 * row['gap_ratio']:.1f}",
        "" if elsewhere is None else f"{elsewhere:.1f}",
        *ratios,
        f"{1e6 * row['cpu_s_a_decision']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policies", nargs="*", metavar="POLICY")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    header = ("policy", "gap %", "elsewhere", *(f"p = {each:g}" for each in PROBABILITIES), "µs")
    rows = []
    for name in arguments.policies or POLICIES:
        rows.append(row_of(name, arguments.repeats))
        print_table(header, [cells_of(rows[-1])], has_header=len(rows) == 1)
    write_result(
        "jobshop_gaps", settings={"repeats": arguments.repeats, "seed": SEED}, results=rows
    )


if __name__ == "__main__":
    main()
