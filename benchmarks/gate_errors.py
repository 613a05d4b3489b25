"""How often a gate against a baseline is wrong: false alarms of A against A, and its power.

    python -m benchmarks.gate_errors simulated [--trials 200] [--conversations 200]
    python -m benchmarks.gate_errors real [--runs 20] [--repeats 3] WORKLOAD [--set KEY=VALUE]…
    python -m benchmarks.gate_errors between

`simulated`: records made up from a seed (synthetic_records.py): conversations have levels of their
own, which both engines share, and heavy-tailed stalls. Engine B is A again (false alarms) or 10 %
slower in everything (power), judged from its records by the code of `fsbench gate`. By
`METRIC <= 1 * baseline` every FAIL of A against A is a false alarm on the bound, stated level
2.5 %; `<= 1.05 * baseline` leaves an allowance. `stored` holds B against a baseline file instead,
where nothing is paired. `run levels`: every repeat has a level of its own (sigma 5 %), which no
resampling within it can see: with one repeat each, with three and with five.

`real`: an A/A test of this machine and that engine. The workload's engine (its first) is run so
many times as two engines of equal settings, interleaved. By the same gates the second is held
against the first beside it (`beside`), both against themselves in the run before (`before`), and
repeat by repeat one part of the second against one of the first (`one repeat`); `one repeat, within
alone` is what a judge would have said who took a part's own interval for all there is.

`between`: from the values in that result, what the interval between runs would have failed by
itself (whatever the driver), by `METRIC <= 1 * baseline`; and how far one part lies from the next.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import DIRECTORY, print_table, write_result
from benchmarks.synthetic_records import Noise, make_plan, make_turns, write_run
from suite.judging.catalogue.table import Metric
from suite.judging.gate_syntax import Gate, parse_gate
from suite.judging.gates import Outcome, evaluate
from suite.judging.look_up import Number, look_up
from suite.judging.ratios import ratio_of
from suite.judging.sides import EngineSide, Side
from suite.judging.stored_baselines import StoredSide
from suite.measuring.engine_run import EngineRun, read_engine
from suite.measuring.latencies import latency_summaries
from suite.measuring.window import measured
from suite.records.reading import read_run
from suite.statistics.intervals import as_json
from suite.statistics.quantiles import Interval
from suite.statistics.student import (
    mean_of_repeats_interval,
    paired_ratio_interval,
    unpaired_ratio_interval,
)
from workloads.source import read_source

METRICS = ("ttft.p50", "ttft.p99", "tbt.mean", "tbt.p99", "e2e.p95")
FACTORS = (1.0, 1.05)
GATES = tuple(f"{metric} <= {factor} * baseline" for metric in METRICS for factor in FACTORS)
SLOWDOWN = 1.1
RUN_SIGMA = 0.05
FIRST, SECOND = "first", "second"  # two engines of equal settings


def simulated(num_trials: int, num_conversations: int) -> dict[str, dict[str, dict[str, int]]]:
    """Counts the outcomes by scene and gate."""
    plan = make_plan(num_conversations, mean_turns=5, mean_tokens=40, seed=1)
    scenes = {
        f"{title}{', run levels' if sigma else ''}, repeats: {repeats}": (
            Noise(run_sigma=sigma),
            slowdown,
            repeats,
        )
        for sigma, all_repeats in ((0.0, (1, 3)), (RUN_SIGMA, (1, 3, 5)))
        for repeats in all_repeats
        for title, slowdown in (("A against A", 1.0), ("10 % slower", SLOWDOWN))
    }
    gates = [parse_gate(text) for text in GATES]
    found: dict[str, dict[str, dict[str, int]]] = {}
    for scene, (noise, slowdown, repeats) in scenes.items():
        counters = {kind: _no_counts() for kind in ("", ", stored")}
        for trial in range(num_trials if slowdown == 1 else num_trials // 2):
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
    """Returns the engines with the numbers that the gates look at and, for speed, no others."""
    manifest, plan = read_run(run)
    rule = measured(plan, manifest.workload)
    found = {}
    for name in manifest.engines:
        engine = read_engine(run, manifest, rule, plan, name)
        repeats = [_numbers(engine.only(trial)) for trial in engine.trials]
        spread = None
        if len(repeats) > 1:
            spread = {
                metric: _spread([look_up(each, Metric(metric)) for each in repeats])
                for metric in METRICS
            }
        numbers = {**_numbers(engine), "between_runs": spread, "repeats": repeats}
        found[name] = EngineSide(name, numbers, engine)
    return found


def _numbers(engine: EngineRun) -> dict[str, Any]:
    turns = engine.turns
    names = sorted({f"{metric.split('.')[0]}_s" for metric in METRICS})
    return {
        **latency_summaries(turns, np.ones(len(turns), dtype=bool), names),
        "counts": {"recorded": len(turns)},
        "is_exact": False,
        "is_driver_valid": engine.is_driver_valid,
        "pace": None,
        "num_conversations": len(np.unique(turns.conversation)),
    }


def _spread(numbers: list[Number]) -> dict[str, Any]:
    values = [each.value for each in numbers if each.value is not None]
    return {"values": values, "interval": as_json(mean_of_repeats_interval(np.array(values)))}


def stored(side: EngineSide, gates: Iterable[Gate]) -> StoredSide:
    """What a baseline file would hold of it."""
    metrics = {}
    for metric in {gate.metric.label: gate.metric for gate in gates}.values():
        number = side.number(metric)
        metrics[metric.label] = {"value": number.value, "interval": as_json(number.interval)}
        runs = side.between_runs(metric)
        if runs is not None:
            metrics[metric.label]["between_runs"] = runs
    numbers = {**side.numbers, "repeats": side.num_repeats, "metrics": metrics}
    return StoredSide("stored", numbers, plan="")


def _count(
    counters: dict[str, Counter[str]],
    gates: Iterable[Gate],
    sides: dict[str, Side],
    references: dict[str, Side | None],
) -> None:
    for outcome in evaluate(gates, sides, references):
        counters[outcome.gate][str(outcome.outcome)] += 1


def real(
    workload: Path, overrides: list[str], num_runs: int, num_repeats: int
) -> dict[str, dict[str, Any]]:
    """Counts the outcomes by kind and gate, with what was found in each repeat of each run."""
    kinds = ("beside", "before", "one repeat", "one repeat, within alone")
    counters = {kind: _no_counts() for kind in kinds}
    gates = [parse_gate(text) for text in GATES]
    values: dict[str, list[float | None]] = {metric: [] for metric in METRICS}
    with tempfile.TemporaryDirectory() as folder:
        before: dict[str, EngineSide] = {}
        for number in range(num_runs):
            run = _play(workload, overrides, num_repeats, Path(folder) / str(number))
            sides = sides_of(run)
            first, second = sides[FIRST], sides[SECOND]
            _count(counters["beside"], gates, {SECOND: second}, {SECOND: first})
            if before:
                _count(counters["before"], gates, sides, before)
            for mine, base in zip(_parts(second), _parts(first), strict=True):
                _count(counters["one repeat"], gates, {SECOND: mine}, {SECOND: base})
                _count_within(counters["one repeat, within alone"], gates, mine, base)
            for side in (first, second):
                for metric in METRICS:
                    values[metric] += [each.number(Metric(metric)).value for each in _parts(side)]
            before = sides
            print(f"{number + 1} of {num_runs}", file=sys.stderr, flush=True)
    for kind, counter in counters.items():
        _show(f"{workload.name}, {kind}", counter)
    outcomes = {
        kind: {text: dict(each) for text, each in counter.items()}
        for kind, counter in counters.items()
    }
    return {**outcomes, "values of every part": values}


def _play(workload: Path, overrides: list[str], num_repeats: int, root: Path) -> Path:
    engines = read_source(workload, overrides).raw["engines"]
    settings = json.dumps(next(iter(engines.values())))
    own = (
        f"engines={{{FIRST}: {settings}, {SECOND}: {settings}}}",
        f"baseline={FIRST}",
        f"repeats={num_repeats}",
        "gates=[]",
    )
    command = [sys.executable, "-m", "suite.cli", "run", str(workload), "--out", str(root)]
    for each in (*overrides, *own):
        command += ["--set", each]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (run,) = root.iterdir()
    return run


def _parts(side: EngineSide) -> list[EngineSide]:
    """Returns one side for each repeat, as if it were the whole run."""
    assert side.records is not None
    alone = [side.records.only(trial) for trial in side.records.trials]
    return [
        EngineSide(side.label, {**_numbers(each), "between_runs": None, "repeats": [{}]}, each)
        for each in alone
    ]


def _count_within(
    counters: dict[str, Counter[str]], gates: list[Gate], mine: Side, base: Side
) -> None:
    for gate in gates:
        ratio = ratio_of(mine, base, gate.metric)
        ends = ratio.interval
        outcome = Outcome.INCONCLUSIVE
        if ends is not None and ends.low is not None and ends.low > gate.bound:
            outcome = Outcome.FAIL
        elif ends is not None and ends.high is not None and ends.high <= gate.bound:
            outcome = Outcome.PASS
        counters[gate.text][str(outcome)] += 1


def between(result: Path) -> None:
    """Prints a line a metric that every part has."""
    found = json.loads(result.read_text())
    num = found["settings"]["repeats"]
    rows = []
    for metric, values in found["results"]["values of every part"].items():
        if None in values:
            continue
        sides = [values[at : at + num] for at in range(0, len(values), num)]
        pairs = list(zip(sides[::2], sides[1::2], strict=True))
        beside = [paired_ratio_interval(second, first) for first, second in pairs]
        before = [
            unpaired_ratio_interval(now, then)
            for earlier, later in pairwise(pairs)
            for then, now in zip(earlier, later, strict=True)
        ]
        played = [each for pair in pairs for both in zip(*pair, strict=True) for each in both]
        furthest = max(max(a, b) / min(a, b) for a, b in pairwise(played))
        rows.append((metric, _num_failed(beside), _num_failed(before), f"{furthest:.2f}"))
    print_table(("metric", "beside", "before", "largest step"), rows)


def _num_failed(intervals: list[Interval | None]) -> str:
    lows = [each.low for each in intervals if each is not None]
    return f"{sum(low is not None and low > 1 for low in lows)} of {len(lows)}"


def _no_counts() -> dict[str, Counter[str]]:
    return {text: Counter[str]() for text in GATES}


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
    played.add_argument("--repeats", type=int, default=3)
    played.add_argument("--set", dest="overrides", action="append", default=[])
    commands.add_parser("between")
    arguments = parser.parse_args()
    if arguments.command == "between":
        between(DIRECTORY / "gate_errors_real.json")
    elif arguments.command == "simulated":
        results = simulated(arguments.trials, arguments.conversations)
        settings = {"trials": arguments.trials, "conversations": arguments.conversations}
        write_result("gate_errors", settings=settings, results=results)
    else:
        num_runs, num_repeats = arguments.runs, arguments.repeats
        found = real(arguments.workload, arguments.overrides, num_runs, num_repeats)
        settings = {
            "workload": arguments.workload.name,
            "overrides": arguments.overrides,
            "runs": num_runs,
            "repeats": num_repeats,
        }
        write_result("gate_errors_real", settings=settings, results=found)


if __name__ == "__main__":
    main()
