"""A search for capacity as one offline file: the load that each engine carries, and the runs
that show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reports.pages.swept_runs import write_swept_runs
from reports.pages.tables import Cell, Table, sort_key
from reports.sections.sweep_points import read_sweep
from reports.words import units
from suite.sweep.capacity_result import CapacityResult, EngineCapacity, SeedCapacity
from suite.sweep.manifest import SweepManifest


def write_capacity(
    manifest: SweepManifest, runs: Mapping[str, Path], path: Path, found: CapacityResult
) -> Path:
    """Writes the page; `runs`: cell ▸ its directory. Raises InputError where only one rate was
    tried, so that there is nothing to draw along; RunDirectoryError."""
    return write_swept_runs(
        read_sweep(manifest, runs),
        list(runs.values()),
        path,
        kind="capacity",
        title=f"{found.name}: how much load is carried",
        headline=_headline(found),
        users=_table(found),
    )


def _headline(found: CapacityResult) -> str:
    """Names engines in the workload's order: a ranking would make a winner of who may be none."""
    rates = ", ".join(
        f"{each.engine} {'not found' if each.rate is None else _rate(each.rate)}"
        for each in found.engines
    )
    enough = units.percent(found.target_ratio)
    return f"Conversations a second carried with {enough} of the users within SLO: {rates}."


def _table(found: CapacityResult) -> Table:
    beside = (f"Times {found.baseline}", "95 % of that") if found.baseline is not None else ()
    return Table(
        columns=("Engine", "Conversations/s", "95 % interval", *beside, "Seed by seed"),
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


def _step(seed: SeedCapacity) -> str:
    """Says between which two rates a seed's capacity lies."""
    held = "none held" if seed.rate is None else f"{_rate(seed.rate)} held"
    if seed.next_rate is None:
        return f"{held}, nothing higher was tried"
    return f"{held}, {_rate(seed.next_rate)} did not"


def _rate(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.3g}"
