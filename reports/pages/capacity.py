"""A search for capacity as one offline file: the load that each engine carries, and the runs
that show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from reports.drawing.palette import looks
from reports.pages.swept_runs import TitledTable, write_swept_runs
from reports.pages.tables import Cell, Table, sort_key
from reports.sections.capacity_rates import ANSWERS, rates_section
from reports.sections.sweep_points import read_sweep
from reports.words import units
from reports.words.limiting import limited_by, limits_in_words, long_run, why_unsure
from suite.sweep.capacity_result import CapacityResult, EngineCapacity, RateSeen, SeedCapacity
from suite.sweep.manifest import SweepManifest


def write_capacity(
    manifest: SweepManifest, runs: Mapping[str, Path], path: Path, found: CapacityResult
) -> Path:
    """Writes the page; `runs`: cell ▸ its directory. Raises InputError where only one rate was
    tried, so that there is nothing to draw along; RunDirectoryError."""
    bands = {each.engine: each.interval for each in found.engines if each.interval is not None}
    sweep = replace(read_sweep(manifest, runs), bands=bands, is_by_ratio=True)
    is_wall = found.is_of_wall_time
    return write_swept_runs(
        sweep,
        list(runs.values()),
        path,
        kind="capacity",
        title=f"{found.name}: how much load is carried",
        headline=_headline(found),
        users=_table(found),
        first=rates_section(found, looks(sweep.engines)) if is_wall else None,
        more_tables=(_limits_table(found), _rates_table(found)) if is_wall else (),
    )


def _headline(found: CapacityResult) -> str:
    """Names engines in the workload's order: a ranking would make a winner of who may be none."""
    rates = ", ".join(f"{each.engine} {_found(each)}" for each in found.engines)
    enough = units.percent(found.target_ratio)
    return f"Conversations a second carried with {enough} of the users within SLO: {rates}."


def _found(engine: EngineCapacity) -> str:
    if engine.rate is None:
        return "not found"
    if not engine.rates or engine.interval is None:
        return _rate(engine.rate)
    return f"{_rate(engine.interval[0])} to {_rate(engine.interval[1])}"


def _table(found: CapacityResult) -> Table:
    last = "What is known" if found.is_of_wall_time else "Seed by seed"
    beside = (f"Times {found.baseline}", "95 % of that") if found.baseline is not None else ()
    return Table(
        columns=("Engine", "Conversations/s", "95 % interval", *beside, last),
        rows=tuple(_row(each, has_baseline=bool(beside)) for each in found.engines),
    )


def _row(engine: EngineCapacity, *, has_baseline: bool) -> tuple[Cell, ...]:
    ratio = (
        Cell(text=units.times(engine.ratio), sort_key=sort_key(engine.ratio)),
        Cell(text=units.interval(engine.ratio_interval, units.times)),
    )
    steps = map(_step, engine.seeds)
    return (
        Cell(text=engine.engine, detail=engine.note or ""),
        Cell(text=_rate(engine.rate), sort_key=sort_key(engine.rate)),
        Cell(text=units.interval(engine.interval, _rate)),
        *(ratio if has_baseline else ()),
        Cell(text="", detail="; ".join(steps)),
    )


def _limits_table(found: CapacityResult) -> TitledTable:
    """Returns a line an engine: what stood in its way at the lowest rate that it does not carry."""
    rows = []
    for engine in found.engines:
        failing = [each for each in engine.rates if each.answer == "fails"]
        failing = failing or [each for each in engine.rates if each.limits.fault is not None]
        if failing:
            seen = failing[0]
            rows.append(
                (
                    Cell(text=engine.engine),
                    Cell(text=_rate(seen.rate)),
                    Cell(text=limited_by(seen.limits), detail=limits_in_words(seen.limits)),
                )
            )
    return TitledTable(
        title="What limited",
        table=Table(columns=("Engine", "At, conversations/s", "Limited by"), rows=tuple(rows)),
    )


def _rates_table(found: CapacityResult) -> TitledTable:
    """Returns a line an engine and rate, from the lowest on."""
    columns = ("Engine", "Conversations/s", "The target", "Users within SLO", "Turns", "Took")
    rows = tuple(
        (Cell(text=engine.engine), *_rate_cells(seen, found.target_ratio))
        for engine in found.engines
        for seen in engine.rates
    )
    return TitledTable(title="Rate by rate", table=Table(columns=columns, rows=rows))


def _rate_cells(seen: RateSeen, target_ratio: float) -> tuple[Cell, ...]:
    mark = {"holds": "better", "fails": "worse"}.get(seen.answer, "")
    return (
        Cell(text=_rate(seen.rate), sort_key=seen.rate),
        Cell(text=ANSWERS[seen.answer], detail=why_unsure(seen, target_ratio), mark=mark),
        Cell(
            text=f"{seen.num_within_slo} of {seen.num_users}",
            detail=f"in the long run {long_run(seen)}",
        ),
        Cell(text=units.count(seen.num_turns), sort_key=seen.num_turns),
        Cell(text=units.duration(seen.duration_s), sort_key=seen.duration_s),
    )


def _step(seed: SeedCapacity) -> str:
    """Says between which two rates a seed's capacity lies."""
    held = "none held" if seed.rate is None else f"{_rate(seed.rate)} held"
    if seed.next_rate is None:
        return f"{held}, nothing higher was tried"
    return f"{held}, {_rate(seed.next_rate)} did not"


def _rate(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.3g}"
