"""Puts metrics.json together from a run directory: every number computed anew, then judged.

Formulas, units and edge cases: docs/metrics.md, whose names are the keys here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import RunDirectoryError
from suite.judging.catalogue.table import ROWS
from suite.judging.gate_syntax import Gate, parse_gates
from suite.judging.gates import evaluate
from suite.judging.lateness import lateness_of
from suite.judging.published import reference_numbers
from suite.judging.repeats import between_runs
from suite.judging.sides import EngineSide, against
from suite.judging.verdicts import compare_sides
from suite.measuring.cache_isolation import CacheCheck
from suite.measuring.engine_numbers import engine_numbers
from suite.measuring.engine_run import EngineRun, read_engine, status, version, warnings
from suite.measuring.latencies import latency_summaries
from suite.measuring.pace import pace_of
from suite.measuring.prompt_lengths import LengthCheck
from suite.measuring.window import Measured, measured
from suite.records.reading import read_run
from suite.records.run_directory import SCHEMA_VERSION, Manifest
from suite.statistics.quantiles import CONFIDENCE_RATIO
from workloads.plan import Plan

Json = dict[str, Any]
LATENCIES_BY_TURN = tuple(
    dict.fromkeys(row.path[0] for row in ROWS.values() if "turn" in row.scopes)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """A run directory read whole: the records and the numbers."""

    path: Path
    manifest: Manifest
    plan: Plan
    measured: Measured
    engines: dict[str, EngineRun]
    numbers: dict[str, Json]  # per engine, as in metrics.json

    def sides(self) -> dict[str, EngineSide]:
        """Returns each engine as a side of comparisons and gates."""
        return {
            name: EngineSide(label=name, numbers=self.numbers[name], records=engine)
            for name, engine in self.engines.items()
        }


def measure_run(run: Path, only: str | None = None) -> MeasuredRun:
    """Reads and measures every engine of a run, or one. Raises RunDirectoryError, PlanFileError,
    CutError."""
    manifest, plan = read_run(run)
    rule = measured(plan, manifest.workload)
    if only is not None and only not in manifest.engines:
        choices = ", ".join(manifest.engines)
        raise RunDirectoryError(f"{run}: has no engine {only!r}; choose one of: {choices}")
    names = [only] if only is not None else list(manifest.engines)
    engines = {name: read_engine(run, manifest, rule, plan, name) for name in names}
    return MeasuredRun(
        path=run,
        manifest=manifest,
        plan=plan,
        measured=rule,
        engines=engines,
        numbers={
            name: measure_engine(engine, run, manifest.remarks.get(name, []))
            for name, engine in engines.items()
        },
    )


def measure(run: Path) -> Json:
    """Returns what metrics.json holds. Raises RunDirectoryError, PlanFileError, CutError,
    GateError."""
    found = measure_run(run)
    baseline = found.manifest.baseline
    gates = gates_of(found.manifest, found.plan, run)
    sides = found.sides()
    return {
        "schema_version": SCHEMA_VERSION,
        "plan_digest": found.manifest.plan_digest,
        "confidence_ratio": CONFIDENCE_RATIO,
        "baseline": baseline,
        "measured": found.measured.as_json(),
        "engines": found.numbers,
        "comparisons": {
            name: compare_sides(side, sides[baseline])
            for name, side in sides.items()
            if baseline in sides and name != baseline
        },
        "references": reference_numbers(found.manifest, sides),
        "gates": [
            outcome.as_json() for outcome in evaluate(gates, sides, against(sides, baseline))
        ],
    }


def gates_of(manifest: Manifest, plan: Plan, run: Path) -> tuple[Gate, ...]:
    """Returns the gates of the run's own workload. Raises GateError, which names the file."""
    return parse_gates(
        manifest.gates,
        engines=list(manifest.engines),
        user_classes=[each.name for each in plan.user_classes],
        baseline=manifest.baseline,
        where=str(run / "manifest.json"),
    )


def write_metrics(run: Path) -> Json:
    """Measures a run and keeps the result as its metrics.json."""
    metrics = measure(run)
    partial = run / "metrics.json.partial"
    partial.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    partial.replace(run / "metrics.json")
    return metrics


def read_metrics(run: Path) -> Json:
    """Returns the run's metrics.json; measures the run where it has none of this version."""
    path = run / "metrics.json"
    if path.exists():
        found: Json = json.loads(path.read_text())
        if found.get("schema_version") == SCHEMA_VERSION:
            return found
    return write_metrics(run)


def measure_engine(engine: EngineRun, run: Path, remarks: Sequence[str] = ()) -> Json:
    """Returns an engine's part of metrics.json: its numbers, its repeats' and how far those differ;
    `remarks` join the warnings."""
    turns = engine.turns
    pooled = engine_numbers(engine, run)
    repeats = _numbers_of_repeats(engine, run, pooled)
    lateness = lateness_of(engine, run, pooled)
    unavailable = pooled.pop("unavailable")
    spread = between_runs(repeats)
    if spread is None:
        unavailable = {**unavailable, "between_runs": "needs at least 2 repeats that were recorded"}
    trust, warned = _trust(engine)
    return {
        "status": status(engine),
        "version": version(engine),
        **trust,
        "lateness": lateness,
        "num_conversations": len(np.unique(turns.conversation)),
        **pooled,
        "by_turn": {
            str(number): latency_summaries(turns, turns.turn == number, LATENCIES_BY_TURN)
            for number in np.unique(turns.turn)
        },
        "repeats": [
            {"repeat": trial.repeat, "status": trial.status, "note": trial.note, **mine}
            for trial, mine in zip(engine.trials, repeats, strict=True)
        ],
        "between_runs": spread,
        "warnings": [*warnings(engine, pooled["steady_state"]), *warned, *remarks],
        "unavailable": unavailable,
    }


def _numbers_of_repeats(engine: EngineRun, run: Path, pooled: Json) -> list[Json]:
    """Returns each repeat's numbers; of a single one they are the pooled ones."""
    if len(engine.trials) == 1:
        return [pooled]
    return [engine_numbers(engine.only(trial), run) for trial in engine.trials]


def _trust(engine: EngineRun) -> tuple[Json, list[str]]:
    """Returns what tells how far the numbers can be trusted, and what to warn of."""
    pace, cache = pace_of(engine), CacheCheck(engine)
    return {
        "is_exact": engine.is_exact,
        "is_driver_valid": engine.is_driver_valid,
        "tbt_doubt": engine.tbt_doubt,
        "tpot_doubt": engine.tpot_doubt,
        "pace": None if pace is None else pace.as_json(),
        "prefix_cache": cache.as_json(),
    }, [
        *([] if pace is None else pace.warnings()),
        *cache.warnings(),
        *LengthCheck(engine).warnings(),
    ]
