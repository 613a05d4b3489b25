"""How often a gate against a baseline is wrong: false alarms of A against A, and its power.

    python -m benchmarks.gate_errors simulated [--trials 200] [--conversations 200]
    python -m benchmarks.gate_errors real --runs 20 WORKLOAD [--set KEY=VALUE]…

`simulated`: records made up from a seed (synthetic_records.py): conversations have levels of their
own, which both engines share, and heavy-tailed stalls. Engine B is A again (false alarms) or 10 %
slower in everything (power), judged from its records by the code of `fsbench gate`. By
`METRIC <= 1 * baseline` every FAIL of A against A is a false alarm on the bound, stated level
2.5 %; `<= 1.05 * baseline` leaves an allowance. `stored` holds B against a baseline file instead,
where nothing is paired. `shared level`: every run has a level of its own (sigma 5 %),
which no resampling within a run can see: one repeat each, and five.

`real`: the workload is run so many times (one engine, one repeat each) and every run is gated
against the one before it by the same gates: an A/A test of this machine and that engine. A baseline
engine in the file is not needed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import print_table, write_result
from benchmarks.synthetic_records import Noise, make_plan, make_turns, write_run
from suite.baseline import StoredSide
from suite.compare import EngineSide, Side
from suite.engine_run import EngineRun, read_engine
from suite.gate_text import Gate, parse_gate
from suite.gates import evaluate
from suite.gating import judge_run
from suite.intervals import as_json, between_runs_interval
from suite.latencies import latency_summaries
from suite.measured import measured
from suite.metric_names import Metric, Number, look_up
from suite.metrics import read_run

METRICS = ("ttft.p50", "ttft.p99", "tbt.mean", "tbt.p99", "e2e.p95")
FACTORS = (1.0, 1.05)
GATES = tuple(f"{metric} <= {factor} * baseline" for metric in METRICS for factor in FACTORS)
SLOWDOWN = 1.1


def simulated(num_trials: int, num_conversations: int) -> dict[str, dict[str, dict[str, int]]]:
    """Outcomes by scene and gate."""
    plan = make_plan(num_conversations, mean_turns=5, mean_tokens=40, seed=1)
    scenes = {
        "A against A": (Noise(), 1.0, 1),
        "10 % slower": (Noise(), SLOWDOWN, 1),
        "A against A, shared level, 1 repeat": (Noise(run_sigma=0.05), 1.0, 1),
        "A against A, shared level, 5 repeats": (Noise(run_sigma=0.05), 1.0, 5),
        "10 % slower, shared level, 5 repeats": (Noise(run_sigma=0.05), SLOWDOWN, 5),
    }
    gates = [parse_gate(text) for text in GATES]
    found: dict[str, dict[str, dict[str, int]]] = {}
    for scene, (noise, slowdown, repeats) in scenes.items():
        counters = {kind: {text: Counter[str]() for text in GATES} for kind in ("", ", stored")}
        trials = num_trials if repeats == 1 else num_trials // 2
        for trial in range(trials):
            with tempfile.TemporaryDirectory() as folder:
                seeds = iter(range(100 * trial, 100 * trial + 2 * repeats))
                parts = {
                    name: [
                        make_turns(plan, noise, slowdown=level, run=next(seeds), shared=trial)
                        for _ in range(repeats)
                    ]
                    for name, level in (("a", 1.0), ("b", slowdown))
                }
                side = sides_of(write_run(Path(folder), plan, parts, []))
            _count(counters[""], gates, {"b": side["b"]}, {"b": side["a"]})
            _count(counters[", stored"], gates, {"b": side["b"]}, {"b": stored(side["a"], gates)})
        for kind, counter in counters.items():
            found[scene + kind] = {text: dict(each) for text, each in counter.items()}
            _show(scene + kind, counter)
    return found


def sides_of(run: Path) -> dict[str, EngineSide]:
    """The engines with the numbers that the gates look at, and no others: for speed."""
    manifest, plan = read_run(run)
    rule = measured(plan, manifest.workload)
    found = {}
    for name in manifest.engines:
        engine = read_engine(run, manifest, rule, plan, name)
        repeats = [_numbers(engine.only(part)) for part in engine.parts]
        spread = None
        if len(repeats) > 1:
            spread = {
                metric: _spread([look_up(each, Metric(metric)) for each in repeats])
                for metric in METRICS
            }
        found[name] = EngineSide(name, {**_numbers(engine), "between_runs": spread}, engine)
    return found


def _numbers(engine: EngineRun) -> dict[str, Any]:
    turns = engine.turns
    names = sorted({f"{metric.split('.')[0]}_s" for metric in METRICS})
    return {
        **latency_summaries(turns, np.ones(len(turns), dtype=bool), names),
        "counts": {"recorded": len(turns)},
        "is_exact": False,
        "is_driver_valid": True,
        "num_conversations": len(np.unique(turns.conversation)),
    }


def _spread(numbers: list[Number]) -> dict[str, Any]:
    values = [each.value for each in numbers if each.value is not None]
    return {"values": values, "interval": as_json(between_runs_interval(np.array(values)))}


def stored(side: EngineSide, gates: Iterable[Gate]) -> StoredSide:
    """What a baseline file would hold of it."""
    metrics = {}
    for metric in {gate.metric.label: gate.metric for gate in gates}.values():
        number = side.number(metric)
        metrics[metric.label] = {"value": number.value, "interval": as_json(number.interval)}
        runs = side.between_runs(metric)
        if runs is not None and runs["interval"] is not None:
            metrics[metric.label]["between_runs"] = runs
    return StoredSide("stored", {**side.numbers, "metrics": metrics})


def _count(
    counters: dict[str, Counter[str]],
    gates: Iterable[Gate],
    sides: dict[str, Side],
    references: dict[str, Side | None],
) -> None:
    for outcome in evaluate(gates, sides, references):
        counters[outcome.gate][str(outcome.outcome)] += 1


def real(workload: Path, overrides: list[str], num_runs: int) -> dict[str, dict[str, int]]:
    """Outcomes by gate of each run against the one before it."""
    counters = {text: Counter[str]() for text in GATES}
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.yaml"
        rules.write_text("".join(f"- {text}\n" for text in GATES))
        before: Path | None = None
        for number in range(num_runs + 1):
            root = Path(folder) / str(number)
            command = [sys.executable, "-m", "suite.cli", "run", str(workload), "--out", str(root)]
            for each in [*overrides, "repeats=1", "gates=[]"]:
                command += ["--set", each]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (run,) = root.iterdir()
            if before is not None:
                judged = judge_run(run, baseline=str(before), rules=rules, is_unpaired=False)
                for gate in judged["gates"]:
                    counters[gate["gate"]][gate["outcome"]] += 1
            before = run
    _show(f"{workload.name}, {num_runs} runs against the one before", counters)
    return {text: dict(each) for text, each in counters.items()}


def _show(title: str, counters: dict[str, Counter[str]]) -> None:
    print(f"\n{title}")
    outcomes = ("fail", "inconclusive", "pass")
    rows = []
    for text, counter in counters.items():
        total = max(1, counter.total())
        rows.append((text, *(f"{counter[each] / total:.1%}" for each in outcomes)))
    print_table(("gate", *outcomes), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made_up = commands.add_parser("simulated")
    made_up.add_argument("--trials", type=int, default=200)
    made_up.add_argument("--conversations", type=int, default=200)
    played = commands.add_parser("real")
    played.add_argument("workload", type=Path)
    played.add_argument("--runs", type=int, default=20)
    played.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    if arguments.command == "simulated":
        results = simulated(arguments.trials, arguments.conversations)
        settings = {"trials": arguments.trials, "conversations": arguments.conversations}
        write_result("gate_errors", settings=settings, results=results)
    else:
        found = real(arguments.workload, arguments.overrides, arguments.runs)
        settings = {"workload": arguments.workload.name, "runs": arguments.runs}
        write_result("gate_errors_real", settings=settings, results=found)


if __name__ == "__main__":
    main()
