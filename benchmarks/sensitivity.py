"""Which assumption moves the paper's ratios most? One at a time, in virtual time.

    python -m benchmarks.sensitivity                    # results/sensitivity.json
    python -m benchmarks.sensitivity --num-conversations 40 --seeds 7

The traffic of workloads/paper/llama8b-a10-markov.yaml near vllm-0.3's saturation. For each value of
an assumption: by how many times fastswitch is better than vllm-0.3 in P99 TTFT and P99.9 TBT
(geometric mean over seeds). An assumption's swing is its highest factor / its lowest, the default's
included; the assumption with the largest swing stands first. `seed` is the draw of the traffic
itself, with every assumption at its default, and `load` the arrival rate, a condition and not an
assumption: an assumption with less swing than the seed moves nothing that this shows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from benchmarks.results import print_table, write_result
from engines.simulated.profile import load_profile, profile_yaml
from suite.sweep.cells import CellLoader, CellTask
from suite.sweep.executors import OverCores
from workloads.source import WorkloadSource, read_source
from workloads.yaml_file import Setting

WORKLOAD = Path(__file__).parents[1] / "workloads" / "paper" / "llama8b-a10-markov.yaml"
PROFILE = "a10-llama3-8b"
ENGINES = ("vllm-0.3", "fastswitch")
HEADLINES = {"ttft.p99": "P99 TTFT", "tbt.p999": "P99.9 TBT"}
DEFAULT = "default"
# By assumption: how its default reads, and the settings of each other value.
ASSUMPTIONS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "t0 of a copy": ("5 µs", {"2 µs": {"copy_s": 2e-6}, "10 µs": {"copy_s": 1e-5}}),
    "think time, median": (
        "10 s",
        {"5 s": {"think_time.median": "5s"}, "20 s": {"think_time.median": "20s"}},
    ),
    "stay (Markov's p)": (
        "0.9",
        {"0.5": {"priorities.stay": 0.5}, "0.98": {"priorities.stay": 0.98}},
    ),
    "group_tokens": (
        "1000",
        {
            "64": {"engines.fastswitch.group_tokens": 64},
            "3000": {"engines.fastswitch.group_tokens": 3000},
        },
    ),
    "load": ("x 1", {"x 0.8": {"load": 0.8}, "x 1.2": {"load": 1.2}}),
}

Factors = dict[str, float]  # by metric: times better


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One assumption with another value than the default; the default itself has no settings."""

    assumption: str
    value: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.assumption} {self.value}".replace(" ", "-").replace("/", "-")


def variants() -> list[Variant]:
    default = Variant(assumption=DEFAULT, value=DEFAULT, settings={})
    others = [
        Variant(assumption=assumption, value=value, settings=settings)
        for assumption, (_, values) in ASSUMPTIONS.items()
        for value, settings in values.items()
    ]
    return [default, *others]


def base_of(num_conversations: int, rate: float) -> WorkloadSource:
    """Returns the workload with its two engines only and fewer conversations."""
    source = read_source(WORKLOAD)
    engines = {name: source.raw["engines"][name] for name in ENGINES}
    return _with(
        source,
        {
            "engines": engines,
            "conversations.count": num_conversations,
            "arrivals.rate": rate,
            "driver.turn_timeout": "24h",
        },
    )


def source_of(base: WorkloadSource, variant: Variant, seed: int, folder: Path) -> WorkloadSource:
    """`folder` holds the profile that another t0 needs."""
    settings = {"seed": seed, **variant.settings}
    if "copy_s" in settings:
        settings["engines.*.profile"] = str(_profile_with(settings.pop("copy_s"), folder))
    if "load" in settings:
        settings["arrivals.rate"] = base.raw["arrivals"]["rate"] * settings.pop("load")
    return _with(base, settings)


def _profile_with(copy_s: float, folder: Path) -> Path:
    profile = load_profile(PROFILE)
    constant = profile.link.copy_s.model_copy(update={"value": copy_s})
    link = profile.link.model_copy(update={"copy_s": constant})
    path = folder / f"t0-{copy_s:g}.yaml"
    path.write_text(profile_yaml(profile.model_copy(update={"link": link})))
    return path


def _with(source: WorkloadSource, settings: Mapping[str, Any]) -> WorkloadSource:
    where = "benchmarks/sensitivity.py"
    return source.having(*(Setting(key=k, value=v, where=where) for k, v in settings.items()))


def play(
    base: WorkloadSource, seeds: Sequence[int], num_jobs: int, folder: Path
) -> Iterator[tuple[Variant, int, Factors]]:
    """Each as it is there. Raises RuntimeError for a run that is not complete or too small."""
    loader, tasks, asked = CellLoader(), [], {}
    for seed in seeds:
        for variant in variants():
            name = f"{variant.name},seed={seed}"
            cell = loader.load(name, {}, source_of(base, variant, seed, folder))
            tasks.append(CellTask(cell=cell, directory=folder / "cells" / name))
            asked[name] = variant, seed
    for result in OverCores(num_jobs).run(tasks):
        if result.status != "complete":
            raise RuntimeError(f"{result.name} is {result.status}: {result.note}")
        metrics = json.loads((folder / "cells" / result.name / "metrics.json").read_text())
        cited = {each["metric"]: each for each in metrics["references"]}
        for metric in HEADLINES:
            if cited[metric]["times_better"] is None:
                raise RuntimeError(f"{result.name}: no {metric}: {cited[metric]['reason']}")
        factors = {metric: cited[metric]["times_better"] for metric in HEADLINES}
        yield *asked[result.name], factors


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """What an assumption does to one headline."""

    assumption: str
    factors: Factors  # by value: geometric mean over seeds, the default among them

    @property
    def ratio(self) -> float:
        return max(self.factors.values()) / min(self.factors.values())


def swings(found: Sequence[tuple[Variant, int, Factors]], metric: str) -> list[Swing]:
    """Returns how far each assumption, and the seeds, move one headline, the largest first."""
    by_value: dict[tuple[str, str], list[float]] = {}
    by_seed: Factors = {}
    for variant, seed, factors in found:
        by_value.setdefault((variant.assumption, variant.value), []).append(factors[metric])
        if variant.assumption == DEFAULT:
            by_seed[f"seed {seed}"] = factors[metric]
    means = {key: geometric_mean(each) for key, each in by_value.items()}
    default = means[DEFAULT, DEFAULT]
    rows = [Swing(assumption="seed", factors=by_seed)]
    for assumption, (default_value, values) in ASSUMPTIONS.items():
        others = {value: means[assumption, value] for value in values}
        factors = {f"{default_value} (default)": default, **others}
        rows.append(Swing(assumption=assumption, factors=factors))
    return sorted(rows, key=lambda each: -each.ratio)


def largest(found: Sequence[Swing]) -> Swing:
    """Returns the largest swing of an assumption; the draw of traffic and the load are none."""
    return next(each for each in found if each.assumption not in ("seed", "load"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-conversations", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--rate", type=float, default=0.12, help="conversations per second")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = base_of(args.num_conversations, args.rate)
        found = list(play(base, args.seeds, args.jobs, Path(folder)))
    results = {}
    for metric, title in HEADLINES.items():
        rows = swings(found, metric)
        print(f"\n{title}: by how many times {ENGINES[1]} is better than {ENGINES[0]}")
        print_table(
            ["assumption", "swing", "factor by value"],
            [
                [
                    each.assumption,
                    f"{each.ratio:.2f}",
                    ", ".join(f"{value}: {factor:.2f}" for value, factor in each.factors.items()),
                ]
                for each in rows
            ],
        )
        top = largest(rows)
        print(f"the assumption that moves it most: {top.assumption} ({top.ratio:.2f}x)")
        results[metric] = {
            "largest": top.assumption,
            "swings": {
                each.assumption: {"swing_ratio": each.ratio, "times_better": each.factors}
                for each in rows
            },
        }
    settings = {key: value for key, value in vars(args).items() if key != "jobs"}
    remark = "simulated; profile by analogy: no GPU was measured"
    print(f"\n{write_result('sensitivity', settings=settings, results=results, remark=remark)}")


if __name__ == "__main__":
    main()
