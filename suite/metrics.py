"""From a run directory to metrics.json: every number computed anew from instants and counts.

Formulas, units and edge cases: docs/metrics.md, whose names are the keys here.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from suite.attainment import Attainment, attaining_turns, judge_users, planned_users
from suite.context_switch import context_switch
from suite.engine_logs import read_engine_logs
from suite.errors import InputError
from suite.fairness import fairness_numbers
from suite.gates import evaluate, parse_gates
from suite.latencies import latency_summaries, throughput, tokens_per_chunk_mean
from suite.run_directory import SCHEMA_VERSION, Manifest, Part
from suite.statistics import CONFIDENCE_RATIO
from suite.turn_table import Bools, TurnTable, read_turns
from workloads.plan import Plan

Json = dict[str, Any]

NUM_REASONS = 3  # of failed turns, shown

COMPARED = (
    ("ttft_s", "p50"),
    ("ttft_s", "p99"),
    ("ttft_s", "p999"),
    ("tbt_s", "p50"),
    ("tbt_s", "p99"),
    ("tbt_s", "p999"),
    ("slo", "users_within_slo_ratio"),
    ("throughput", "output_tokens_per_s"),
)


class MetricsError(InputError):
    """The run directory can not be measured. One line: where, what, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """All that was recorded of one engine, with what it should have been."""

    plan: Plan
    parts: tuple[Part, ...]  # repeats that began
    num_repeats: int  # as planned
    turns: TurnTable
    attains: Bools  # [num_turns]
    users: Attainment

    def only(self, part: Part) -> EngineRun:
        """The same, of one repeat."""
        rows = self.turns.repeat == part.repeat
        return EngineRun(
            plan=self.plan,
            parts=(part,),
            num_repeats=1,
            turns=self.turns.where(rows),
            attains=self.attains[rows],
            users=self.users.where(self.users.repeat == part.repeat),
        )


def read_run(run: Path) -> tuple[Manifest, Plan]:
    """The two files without which nothing can be said. Raises MetricsError, PlanFileError."""
    try:
        return Manifest.read(run), Plan.read(run / "plan.parquet")
    except FileNotFoundError as missing:
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


def read_engine(run: Path, manifest: Manifest, plan: Plan, name: str) -> EngineRun:
    parts = tuple(part for part in manifest.parts if part.engine == name)
    turns = read_turns([(part.repeat, part.directory(run)) for part in parts])
    attains = attaining_turns(turns, plan.user_classes)
    repeats = [part.repeat for part in parts]
    return EngineRun(
        plan=plan,
        parts=parts,
        num_repeats=manifest.repeats,
        turns=turns,
        attains=attains,
        users=judge_users(planned_users(plan), turns, attains, repeats),
    )


def measure(run: Path) -> Json:
    """What metrics.json holds. Raises MetricsError, PlanFileError, GateError."""
    manifest, plan = read_run(run)
    gates = parse_gates(
        manifest.gates,
        engines=list(manifest.engines),
        user_classes=[each.name for each in plan.user_classes],
        baseline=manifest.baseline,
    )
    engines = {
        name: measure_engine(read_engine(run, manifest, plan, name), run)
        for name in manifest.engines
    }
    for name, each in engines.items():
        each["warnings"] += manifest.remarks.get(name, [])
    return {
        "schema_version": SCHEMA_VERSION,
        "plan_digest": manifest.plan_digest,
        "confidence_ratio": CONFIDENCE_RATIO,
        "baseline": manifest.baseline,
        "engines": engines,
        "comparisons": comparisons(engines, manifest.baseline),
        "gates": [outcome.as_json() for outcome in evaluate(gates, engines, manifest.baseline)],
    }


def write_metrics(run: Path) -> Json:
    """`measure`, kept as metrics.json."""
    metrics = measure(run)
    partial = run / "metrics.json.partial"
    partial.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    partial.replace(run / "metrics.json")
    return metrics


def measure_engine(engine: EngineRun, run: Path) -> Json:
    turns = engine.turns
    return {
        "status": status(engine),
        "version": version(engine),
        **numbers(engine, run),
        "by_class": {
            each.name: latency_summaries(turns, turns.user_class == each.name)
            for each in engine.plan.user_classes
        },
        "by_turn": {
            str(number): latency_summaries(turns, turns.turn == number, ("ttft_s", "tbt_s"))
            for number in np.unique(turns.turn)
        },
        "repeats": [
            {
                "repeat": part.repeat,
                "status": part.status,
                "note": part.note,
                **numbers(engine.only(part), run),
            }
            for part in engine.parts
        ],
        "warnings": warnings(engine),
    }


def numbers(engine: EngineRun, run: Path) -> Json:
    """What is told of an engine as a whole and of each of its repeats alike."""
    turns, repeats = engine.turns, [part.repeat for part in engine.parts]
    logs = [read_engine_logs(part.directory(run)) for part in engine.parts]
    switching = context_switch(logs)
    has_users = len(engine.users.repeat) > 0
    unavailable = {}
    if not has_users:
        why = "the plan has no users" if engine.parts else "the engine was never started"
        unavailable["slo"] = unavailable["fairness"] = why
    if switching is None:
        unavailable["context_switch"] = "the engine gives no step log"
    return {
        **latency_summaries(turns, np.ones(len(turns), dtype=bool)),
        "tokens_per_chunk_mean": tokens_per_chunk_mean(turns),
        "throughput": throughput(turns, repeats),
        "slo": slo_by_class(engine) if has_users else None,
        "fairness": fairness_numbers(turns, engine.users, repeats) if has_users else None,
        "context_switch": switching,
        "counts": counts(engine),
        "unavailable": unavailable,
    }


def slo_by_class(engine: EngineRun) -> Json:
    users = engine.users
    return {
        **slo_numbers(users),
        "by_class": {
            each.name: slo_numbers(users.where(users.user_class == each.name))
            for each in engine.plan.user_classes
        },
    }


def slo_numbers(users: Attainment) -> Json:
    """Users are counted once a repeat; turns as planned."""
    num_turns = int(users.num_planned_turns.sum())
    num_within, num_attained = int(users.is_within_slo.sum()), int(users.num_attained_turns.sum())
    return {
        "users_within_slo_ratio": _ratio(num_within, len(users.repeat)),
        "turn_attainment_ratio": _ratio(num_attained, num_turns),
        "num_users": len(users.repeat),
        "num_users_within_slo": num_within,
        "num_turns": num_turns,
        "num_turns_attained": num_attained,
    }


def counts(engine: EngineRun) -> Json:
    """planned = recorded + lost, over all planned repeats, also those that never began."""
    num_turns = sum(len(conversation.turns) for conversation in engine.plan.conversations)
    planned, recorded = num_turns * engine.num_repeats, len(engine.turns)
    return {
        "planned": planned,
        "recorded": recorded,
        "failed": int(engine.turns.has_failed.sum()),
        "lost": planned - recorded,
    }


def status(engine: EngineRun) -> str:
    """missing · failed · interrupted · complete: the worst that befell any repeat."""
    if not engine.parts:
        return "missing"
    found = {part.status for part in engine.parts}
    if len(engine.parts) < engine.num_repeats:
        found.add("interrupted")
    return next(each for each in ("failed", "interrupted", "complete") if each in found)


def version(engine: EngineRun) -> str | None:
    """What ran, where it was not this project's own engine and told us."""
    found = dict.fromkeys(part.engine_version for part in engine.parts if part.engine_version)
    return "; ".join(found) or None


def warnings(engine: EngineRun) -> list[str]:
    """One line each, for a reader of the report: what limits the trust in these numbers."""
    found = []
    if not engine.parts:
        found.append("the engine was never started: nothing was measured")
    elif len(engine.parts) < engine.num_repeats:
        found.append(f"{len(engine.parts)} of {engine.num_repeats} repeats were begun")
    for part in engine.parts:
        if part.status != "complete":
            found.append(f"repeat {part.repeat} {part.status}: {part.note or 'no reason given'}")
        if part.driver is not None:
            found += [f"repeat {part.repeat}, driver: {text}" for text in part.driver.warnings]
    number = counts(engine)
    if number["lost"]:
        found.append(f"{number['lost']:,} of {number['planned']:,} planned turns left no record")
    if number["failed"]:
        found.append(f"{number['failed']:,} turns failed; they miss their SLO: {_reasons(engine)}")
    return found


def _reasons(engine: EngineRun) -> str:
    """Why turns failed, the commonest first."""
    errors = Counter(str(error) for error in engine.turns.error if error)
    shown = [f"{count:,} × {error}" for error, count in errors.most_common(NUM_REASONS)]
    rest = len(errors) - len(shown)
    return "; ".join(shown) + (f"; and {rest:,} other reasons" if rest else "")


def comparisons(engines: Json, baseline: str | None) -> Json:
    """Per engine other than the baseline: its value / the baseline's, of the main numbers."""
    if baseline is None or baseline not in engines:
        return {}
    return {
        name: {
            f"{group}.{key}": _ratio_of(engine, engines[baseline], group, key)
            for group, key in COMPARED
        }
        for name, engine in engines.items()
        if name != baseline
    }


def _ratio_of(engine: Json, baseline: Json, group: str, key: str) -> float | None:
    value, base = ((each[group] or {}).get(key) for each in (engine, baseline))
    return None if value is None or not base else value / base


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
