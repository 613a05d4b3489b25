"""What benchmarks.fairness found, from its cells alone: capacities with intervals, and who pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from statistics import fmean, median
from typing import Any, Protocol

from benchmarks.fairness_arms import ARMS, CAPACITY_SCENES, FIXED_SCENES, REFERENCE
from benchmarks.fairness_cells import Cells
from benchmarks.results import print_table
from suite.statistics.student import paired_ratio_interval

Json = dict[str, Any]
Crossing = Callable[[dict[int, float], float], float | None]
WITHOUT_CHEAP_SWITCHING = ("vllm-0.3", "recompute-prefix")


class Goal(Protocol):
    @property
    def share(self) -> str: ...

    @property
    def target(self) -> float: ...


def summary(cells: Cells, goals: Sequence[Goal], crossing: Crossing) -> Json:
    """Returns the capacities by goal and scene, and the scenes at one rate."""
    return {
        "capacity": {
            f"{goal.share} >= {goal.target}": {
                scene: found
                for scene in CAPACITY_SCENES
                if (found := _capacities(cells, scene, goal, crossing))
            }
            for goal in goals
        },
        "fixed": {scene: found for scene in FIXED_SCENES if (found := _fixed(cells, scene))},
        "num_cells": len(cells.rows),
        "cpu_s": round(sum(row["cpu_s"] for row in cells.rows)),
    }


def _capacities(cells: Cells, scene: str, goal: Goal, crossing: Crossing) -> Json:
    rates = {
        arm: {
            seed: rate
            for seed in cells.seeds(scene, arm)
            if (rate := crossing(cells.shares(scene, arm, seed, goal.share), goal.target))
        }
        for arm in ARMS
    }
    rates = {arm: found for arm, found in rates.items() if found}
    others = [arm for arm in rates if arm.split(" + ")[0] in WITHOUT_CHEAP_SWITCHING]
    best = max(others, key=lambda arm: _mean(list(rates[arm].values())), default=None)
    return {
        arm: {
            "rates": {str(seed): round(rate, 5) for seed, rate in found.items()},
            "rate": _mean(list(found.values())),
            f"times {REFERENCE}": _times(found, rates.get(REFERENCE, {})),
            "times the best without cheap switching": None
            if best is None
            else {"best": best, **_times(found, rates[best])},
            **_there(cells, scene, arm, found),
        }
        for arm, found in rates.items()
    }


def _there(cells: Cells, scene: str, arm: str, rates: Mapping[int, float]) -> Json:
    """Returns, at the highest rate that each seed holds, the longest gap and wait of any seed, and
    the medians of the other numbers."""
    at = [
        max(
            (row for row in cells.of(scene, arm) if row["seed"] == seed and row["rate"] <= rate),
            key=lambda row: row["rate"],
        )
        for seed, rate in rates.items()
    ]
    keys = ("ttft_p99_s", "tbt_p99_s", "tbt_p999_s", "output_tokens_per_s", "num_preemptions")
    return {
        "longest_gap_s": max(row["longest_gap_s"] for row in at),
        "longest_wait_s": max(row["longest_wait_s"] for row in at),
        **{key: median(row[key] for row in at) for key in keys},
    }


def _times(rates: Mapping[int, float], base: Mapping[int, float]) -> Json:
    """Returns the mean ratio over the seeds that both have, and its interval."""
    seeds = sorted(rates.keys() & base.keys())
    if not seeds:
        return {"ratio": None, "interval": None, "num_seeds": 0}
    mine, others = [rates[seed] for seed in seeds], [base[seed] for seed in seeds]
    interval = paired_ratio_interval(mine, others)
    return {
        "ratio": _mean([a / b for a, b in zip(mine, others, strict=True)]),
        "interval": None if interval is None else [interval.low, interval.high],
        "num_seeds": len(seeds),
    }


def _mean(values: Sequence[float]) -> float:
    """Returns the geometric mean."""
    return exp(fmean(map(log, values)))


def _fixed(cells: Cells, scene: str) -> Json:
    """Returns, by arm, the mean over seeds of each class's numbers."""
    found = {}
    for arm in FIXED_SCENES[scene].arms:
        rows = list(cells.of(scene, arm))
        if rows:
            classes = rows[0]["by_class"]
            found[arm] = {
                "num_seeds": len(rows),
                "jain_index": fmean(row["jain_index"] for row in rows),
                "by_class": {
                    name: {
                        key: fmean(row["by_class"][name][key] for row in rows)
                        for key in classes[name]
                    }
                    for name in classes
                },
            }
    return found


def show(results: Json) -> None:
    """Prints the tables."""
    for goal, scenes in results["capacity"].items():
        for scene, arms in scenes.items():
            header = [f"{scene}: {goal}", "rate", "× reference", "× best other", "gap", "wait"]
            print_table(header, [_line(arm, each) for arm, each in arms.items()])
    for scene, arms in results["fixed"].items():
        header = [scene, "class", "users in SLO", "turns in SLO", "TTFT P99", "service/s"]
        print_table(
            header,
            [
                [
                    arm,
                    name,
                    f"{each['users_within_slo']:.0%}",
                    f"{each['turn_attainment']:.0%}",
                    f"{each['ttft_p99_s']:.1f} s",
                    f"{each['service_rate_median']:.0f}",
                ]
                for arm, numbers in arms.items()
                for name, each in numbers["by_class"].items()
            ],
        )


def _line(arm: str, each: Json) -> list[str]:
    shown = [_ratio(each[key]) for key in each if key.startswith("times")]
    extremes = [f"{each[key]:.1f} s" for key in ("longest_gap_s", "longest_wait_s")]
    return [arm, f"{each['rate']:.4f}", *shown, *extremes]


def _ratio(times: Json | None) -> str:
    if times is None or times["ratio"] is None:
        return "–"
    ends = times["interval"]
    return f"{times['ratio']:.2f}" + (f" ({ends[0]:.2f}–{ends[1]:.2f})" if ends else "")
