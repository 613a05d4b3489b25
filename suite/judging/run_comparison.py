"""`fsbench compare`: engines of two or more runs held against the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.judging.metrics_file import MeasuredRun, measure_run
from suite.judging.published import reference_numbers
from suite.judging.ratios import UNSEEN
from suite.judging.sides import EngineSide
from suite.judging.verdicts import compare_sides
from suite.records.run_directory import SCHEMA_VERSION
from suite.statistics.quantiles import CONFIDENCE_RATIO
from workloads.errors import InputError

VOLATILE = {"load_average_1min"}  # differs between any two runs; each report has its own


class CompareError(InputError):
    """Runs that can not be held against each other. One line with both values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSide:
    """One engine of one run."""

    run: MeasuredRun
    engine: str
    side: EngineSide


def compare_runs(selections: Sequence[str], *, is_unpaired: bool = False) -> dict[str, Any]:
    """Returns the comparison as docs/metrics.md has it. Each selection is RUN or RUN:ENGINE; the
    first is what the others are held against, engine by engine of the same name where it has
    several; of a single run, its baseline engine. Raises CompareError, RunDirectoryError."""
    groups = [_sides_of(text) for text in selections]
    if not is_unpaired:
        _check_same_work(groups)
    pairs = _pairs(groups, selections)
    shown = {id(each): each for pair in pairs for each in reversed(pair)}
    base_of = {id(side): base.side.label for side, base in pairs}
    ordered = sorted(shown.values(), key=lambda each: id(each) in base_of)
    comparisons = {side.side.label: compare_sides(side.side, base.side) for side, base in pairs}
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "comparison",
        "confidence_ratio": CONFIDENCE_RATIO,
        "is_paired": len({each.side.plan for each in ordered}) == 1,
        "sides": [{**_side_json(each), "baseline": base_of.get(id(each))} for each in ordered],
        "comparisons": comparisons,
        "references": [entry for side, base in pairs for entry in _references(side, base)],
        "warnings": [*_warnings(ordered), *_unseen(comparisons)],
    }


def _references(side: RunSide, base: RunSide) -> list[dict[str, Any]]:
    """Returns what the side's workload cites of these two, if `base` is that engine on that
    plan."""
    manifest = side.run.manifest
    settings = base.run.manifest.engines[base.engine]
    if side.side.plan != base.side.plan or manifest.engines.get(base.engine) != settings:
        return []
    sides = {side.engine: side.side, base.engine: base.side}
    found = reference_numbers(manifest, sides)
    return [each for each in found if {each["engine"], each["baseline"]} == sides.keys()]


def _sides_of(text: str) -> list[RunSide]:
    path, engine = split_selection(text)
    run = measure_run(path, engine)
    return [
        RunSide(
            run=run,
            engine=name,
            side=EngineSide(f"{path}:{name}", run.numbers[name], run.engines[name]),
        )
        for name in run.engines
    ]


def split_selection(text: str) -> tuple[Path, str | None]:
    """(RUN, None), or (RUN, ENGINE) of `RUN:ENGINE` where no such path exists."""
    if Path(text).exists() or ":" not in text:
        return Path(text), None
    path, engine = text.rsplit(":", 1)
    return Path(path), engine


def _check_same_work(groups: Sequence[Sequence[RunSide]]) -> None:
    first = groups[0][0].run
    for group in groups[1:]:
        other = group[0].run
        ours, theirs = first.manifest.plan_digest, other.manifest.plan_digest
        if ours != theirs:
            raise CompareError(
                f"cannot compare {first.path} and {other.path}: plan differs ({ours[:12]} vs "
                f"{theirs[:12]}); run one again with --plan of the other's plan.parquet, "
                "or say --unpaired"
            )
        rules = [
            f"warm_up {run.measured.warm_up}, drain {run.measured.drain}" for run in (first, other)
        ]
        if rules[0] != rules[1]:
            raise CompareError(
                f"cannot compare {first.path} and {other.path}: they measure different parts of "
                f"the plan ({rules[0]} vs {rules[1]}); make `measure` the same, or say --unpaired"
            )


def _pairs(
    groups: Sequence[Sequence[RunSide]], selections: Sequence[str]
) -> list[tuple[RunSide, RunSide]]:
    """(side, what it is held against)."""
    first = groups[0]
    if len(groups) == 1:
        baseline = first[0].run.manifest.baseline
        base = next((each for each in first if each.engine == baseline), None)
        if base is None or len(first) < 2:
            raise CompareError(
                f"{selections[0]}: nothing to compare it with; name a second run, "
                "or a run with a baseline and another engine"
            )
        return [(each, base) for each in first if each is not base]
    others = [each for group in groups[1:] for each in group]
    if len(first) == 1:
        return [(each, first[0]) for each in others]
    base_of = {each.engine: each for each in first}
    for each in others:
        if each.engine not in base_of:
            raise CompareError(
                f"{each.side.label}: {selections[0]} has no engine {each.engine!r} to hold it "
                f"against; select one with RUN:ENGINE of: {', '.join(base_of)}"
            )
    return [(each, base_of[each.engine]) for each in others]


def _side_json(each: RunSide) -> dict[str, Any]:
    manifest, numbers = each.run.manifest, each.run.numbers[each.engine]
    return {
        "label": each.side.label,
        "run": str(each.run.path),
        "engine": each.engine,
        "plan_digest": manifest.plan_digest,
        "status": numbers["status"],
        "created_at": manifest.created_at,
        "versions": manifest.versions,
        "repeats": len(numbers["repeats"]),
        "num_conversations": numbers["num_conversations"],
        "is_exact": numbers["is_exact"],
        "is_driver_valid": numbers["is_driver_valid"],
        "remarks": manifest.remarks.get(each.engine, []),
    }


def _warnings(sides: Sequence[RunSide]) -> list[str]:
    said = [
        (each.side.label, text)
        for each in sides
        for text in each.run.numbers[each.engine]["warnings"]
    ]
    found = [
        f"{'every side' if len(labels) == len(sides) else ', '.join(labels)}: {text}"
        for text, labels in said_once(said).items()
    ]
    for what in ("versions", "machine"):
        values = [getattr(each.run.manifest, what) for each in sides]
        keys = sorted({key for value in values for key in value} - VOLATILE)
        differing = [key for key in keys if len({str(value.get(key)) for value in values}) > 1]
        if differing:
            found.append(f"the runs differ in {what}: {', '.join(differing)}")
    return found


def said_once(said: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Gathers (name, text) pairs: for each text the names of which it is said."""
    found: dict[str, list[str]] = {}
    for name, text in said:
        found.setdefault(text, []).append(name)
    return found


def _unseen(comparisons: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    reasons = [each["reason"] for entries in comparisons.values() for each in entries]
    num = reasons.count(UNSEEN)
    if not num:
        return []
    return [f"unclear for want of repeats, of {len(reasons)} numbers {num}: {UNSEEN}"]
