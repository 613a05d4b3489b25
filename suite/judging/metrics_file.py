"""From a run directory to metrics.json: every number computed anew from instants and counts.

Formulas, units and edge cases: docs/metrics.md, whose names are the keys here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from suite.errors import InputError
from suite.judging.between_runs import between_runs
from suite.judging.gate_syntax import Gate, parse_gates
from suite.judging.gates import evaluate
from suite.judging.published import reference_numbers
from suite.judging.ratios import EngineSide, against, compare_sides
from suite.measuring.attainment import Attainment, share_intervals
from suite.measuring.context_switch import known_context_switch
from suite.measuring.deadlines import deadlines
from suite.measuring.engine_run import EngineRun, counts, read_engine, status, version, warnings
from suite.measuring.fairness import fairness_numbers
from suite.measuring.latencies import latency_summaries, throughput, tokens_per_chunk_mean
from suite.measuring.steady_state import steady_state
from suite.measuring.users import worst_users
from suite.measuring.window import Measured, measured
from suite.records.engine_logs import read_engine_logs
from suite.records.run_directory import SCHEMA_VERSION, Manifest
from suite.statistics.arrays import Bools
from suite.statistics.intervals import all_as_json
from suite.statistics.quantiles import CONFIDENCE_RATIO
from workloads.plan import Plan

Json = dict[str, Any]


class MetricsError(InputError):
    """The run directory can not be measured. One line: where, what, what to do."""


def read_run(run: Path) -> tuple[Manifest, Plan]:
    """The two files without which nothing can be said. Raises MetricsError, PlanFileError."""
    try:
        return Manifest.read(run), Plan.read(run / "plan.parquet")
    except (FileNotFoundError, NotADirectoryError) as missing:
        if (run / "sweep.json").exists():
            raise MetricsError(
                f"{run}: is a sweep; name one of its runs: {run}/cells/CELL"
            ) from None
        raise MetricsError(
            f"{run}: is not a run directory, {Path(missing.filename).name} is missing; "
            "name a folder that `fsbench run` has written"
        ) from missing
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors()[0]["loc"]) or "the file"
        raise MetricsError(
            f"{run / 'manifest.json'}: {where} can not be read ({error.errors()[0]['msg']}); "
            "it was cut short or written by another version of fsbench"
        ) from error


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
        """Each engine, to be held against another."""
        return {
            name: EngineSide(label=name, numbers=self.numbers[name], records=engine)
            for name, engine in self.engines.items()
        }


def measure_run(run: Path, only: str | None = None) -> MeasuredRun:
    """Every engine, or one. Raises MetricsError, PlanFileError, CutError."""
    manifest, plan = read_run(run)
    rule = measured(plan, manifest.workload)
    if only is not None and only not in manifest.engines:
        choices = ", ".join(manifest.engines)
        raise MetricsError(f"{run}: has no engine {only!r}; choose one of: {choices}")
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
    """What metrics.json holds. Raises MetricsError, PlanFileError, CutError, GateError."""
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
    """The workload's own. Raises GateError, which names the file."""
    return parse_gates(
        manifest.gates,
        engines=list(manifest.engines),
        user_classes=[each.name for each in plan.user_classes],
        baseline=manifest.baseline,
        where=str(run / "manifest.json"),
    )


def write_metrics(run: Path) -> Json:
    """`measure`, kept as metrics.json."""
    metrics = measure(run)
    partial = run / "metrics.json.partial"
    partial.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    partial.replace(run / "metrics.json")
    return metrics


def measure_engine(engine: EngineRun, run: Path, remarks: Sequence[str] = ()) -> Json:
    turns = engine.turns
    pooled = numbers(engine, run)
    repeats = [pooled] if len(engine.parts) == 1 else []
    if not repeats:
        repeats = [numbers(engine.only(part), run) for part in engine.parts]
    unavailable = pooled.pop("unavailable")
    spread = between_runs(repeats)
    if spread is None:
        unavailable = {**unavailable, "between_runs": "needs at least 2 repeats that were recorded"}
    return {
        "status": status(engine),
        "version": version(engine),
        "is_exact": engine.is_exact,
        "is_driver_valid": engine.is_driver_valid,
        "num_conversations": len(np.unique(turns.conversation)),
        **pooled,
        "by_turn": {
            str(number): latency_summaries(turns, turns.turn == number, ("ttft_s", "tbt_s"))
            for number in np.unique(turns.turn)
        },
        "repeats": [
            {"repeat": part.repeat, "status": part.status, "note": part.note, **mine}
            for part, mine in zip(engine.parts, repeats, strict=True)
        ],
        "between_runs": spread,
        "warnings": [*warnings(engine, pooled["steady_state"]), *remarks],
        "unavailable": unavailable,
    }


def numbers(engine: EngineRun, run: Path) -> Json:
    """What is told of an engine as a whole and of each of its repeats alike."""
    turns, repeats = engine.turns, engine.repeats
    logs = [read_engine_logs(part.directory(run)) for part in engine.parts]
    switching = known_context_switch(logs)
    has_users = len(engine.users.repeat) > 0
    unavailable = {}
    if not has_users:
        why = "the plan has no users" if engine.parts else "the engine was never started"
        unavailable = dict.fromkeys(("slo", "fairness", "users"), why)
    if switching is None:
        unavailable["context_switch"] = "the engine gives no step log"
    return {
        **latency_summaries(turns, np.ones(len(turns), dtype=bool)),
        "by_class": {
            each.name: latency_summaries(turns, turns.user_class == each.name)
            for each in engine.plan.user_classes
        },
        "tokens_per_chunk_mean": tokens_per_chunk_mean(turns),
        "throughput": throughput(engine.all_turns, engine.attains_all, repeats),
        "steady_state": steady_state(engine.all_turns, repeats, engine.plan),
        "slo": slo_by_class(engine) if has_users else None,
        "fairness": _fairness(engine) if has_users else None,
        "users": {"worst": worst_users(turns, engine.users)} if has_users else None,
        "context_switch": switching,
        "counts": counts(engine),
        "unavailable": unavailable,
    }


def _fairness(engine: EngineRun) -> Json:
    return fairness_numbers(
        engine.turns,
        engine.users,
        engine.headroom,
        engine.repeats,
        solo=engine.solo,
        user_classes=[each.name for each in engine.plan.user_classes],
    )


def slo_by_class(engine: EngineRun) -> Json:
    users, turns = engine.users, engine.turns
    met, missed = deadlines(turns, engine.plan.user_classes)

    def of(mine: Attainment, rows: Bools) -> Json:
        return slo_numbers(mine, int(met[rows].sum()), int(missed[rows].sum()))

    return {
        **of(users, np.ones(len(turns), dtype=bool)),
        "by_class": {
            each.name: of(users.where(users.user_class == each.name), turns.user_class == each.name)
            for each in engine.plan.user_classes
        },
    }


def slo_numbers(users: Attainment, num_met: int, num_missed: int) -> Json:
    """Users are counted once a repeat; turns as planned; deadlines of the fluidity index."""
    num_turns = int(users.num_planned_turns.sum())
    num_within, num_attained = int(users.is_within_slo.sum()), int(users.num_attained_turns.sum())
    return {
        "users_within_slo_ratio": _ratio(num_within, len(users.repeat)),
        "turn_attainment_ratio": _ratio(num_attained, num_turns),
        "fluidity_index": _ratio(num_met, num_met + num_missed),
        "num_users": len(users.repeat),
        "num_users_within_slo": num_within,
        "num_turns": num_turns,
        "num_turns_attained": num_attained,
        "interval": all_as_json(share_intervals(users)),
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
