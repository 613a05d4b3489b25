"""What a search for capacity found, as the first screen of its page says it."""

from __future__ import annotations

from reports.pages.tables import Cell, Table, sort_key
from reports.words import units
from suite.sweep.capacity_result import CapacityResult, EngineCapacity


def capacity_headline(found: CapacityResult) -> str:
    """In the workload's order: a ranking would name a winner where there may be none."""
    rates = ", ".join(f"{each.engine} {_rate(each.rate)}" for each in found.engines)
    enough = units.percent(found.target_ratio)
    return f"Conversations a second carried with {enough} of the users within SLO: {rates}."


def capacity_table(found: CapacityResult) -> Table:
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
    steps = (f"{_rate(each.rate)} held, {_rate(each.next_rate)} did not" for each in engine.seeds)
    return (
        Cell(text=engine.engine, detail=engine.note or ""),
        Cell(text=_rate(engine.rate), sort_key=sort_key(engine.rate)),
        Cell(text=units.interval(engine.interval, _rate)),
        *(ratio if has_baseline else ()),
        Cell(text="", detail="; ".join(steps)),
    )


def _rate(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.3g}"
