"""The page's tables as values: gates, engines side by side, user classes, the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.words import units
from reports.words.numbers import class_path, interval_at, value_at
from reports.words.wording import interval_text, settling_text, shows, value_text
from suite.judging.catalogue.table import shown_in
from suite.records.run_directory import DriverQuality, Trial

Json = Mapping[str, Any]
NUM_WORST = 5  # users shown, of each engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    text: str
    detail: str = ""
    sort_key: float | str = ""
    mark: str = ""  # CSS class: pass, fail, inconclusive, better, worse, code


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def gate_table(gates: Sequence[Json]) -> Table:
    return Table(
        columns=("Verdict", "Gate", "Engine", "Observed", "95 % interval", "Bound", "Samples"),
        rows=tuple(_gate_row(gate) for gate in gates),
    )


def _gate_row(gate: Json) -> tuple[Cell, ...]:
    metric = gate["metric"]
    observed, bound = (value_text(metric, gate[key]) for key in ("observed", "bound"))
    return (
        Cell(text=gate["outcome"].upper(), mark=gate["outcome"]),
        Cell(text=gate["gate"], detail=f"{gate['reason']}{settling_text(gate)}", mark="code"),
        Cell(text=gate["engine"]),
        Cell(text=observed, sort_key=sort_key(gate["observed"])),
        Cell(text=interval_text(metric, gate["interval"])),
        Cell(text=f"{gate['operator']} {bound}", sort_key=sort_key(gate["bound"])),
        Cell(text=units.count(gate["num_samples"]), sort_key=sort_key(gate["num_samples"])),
    )


def sort_key(value: float | None) -> float | str:
    return "" if value is None else value


def class_table(metrics: Json) -> Table:
    """Returns a row for each engine and user class, a column for each metric that is shown by
    class."""
    titles = (row.label for row in shown_in("class table"))
    return Table(
        columns=("Engine", "User class", *titles, "Turns"),
        rows=tuple(
            _class_row(name, user_class, engine)
            for name, engine in metrics["engines"].items()
            for user_class in engine["by_class"]
        ),
    )


def _class_row(name: str, user_class: str, engine: Json) -> tuple[Cell, ...]:
    cells = []
    for row in shown_in("class table"):
        path = class_path(row, user_class)
        cells.append(_cell(value_at(engine, path), interval_at(engine, path), shows(row)))
    num_turns = value_at(engine, ("slo", "by_class", user_class, "num_turns"))
    return (
        Cell(text=name),
        Cell(text=user_class),
        *cells,
        Cell(text=units.count(num_turns), sort_key=sort_key(num_turns)),
    )


def _cell(
    value: float | None, interval: units.Ends | None, show: Callable[[float | None], str]
) -> Cell:
    detail = units.interval(interval, show) if interval and value is not None else ""
    return Cell(text=show(value), detail=detail, sort_key=sort_key(value))


def worst_users_table(metrics: Json) -> Table | None:
    """Returns the users served worst, with what they met; None where metrics.json names none."""
    rows = [
        (
            Cell(text=name),
            Cell(text=user["user_id"]),
            Cell(text=user["user_class"]),
            Cell(text=units.count(user["repeat"]), sort_key=user["repeat"]),
            _cell(user["attainment_ratio"], None, units.percent),
            Cell(text=f"{user['num_attained_turns']} of {user['num_planned_turns']}"),
            _cell(user["longest_wait_s"], None, units.duration),
            _cell(user["longest_gap_s"], None, units.duration),
            _cell(user["num_abandoned_turns"], None, units.count),
        )
        for name, engine in metrics["engines"].items()
        for user in (engine.get("users") or {}).get("worst", [])[:NUM_WORST]
    ]
    if not rows:
        return None
    columns = ("Engine", "User", "Class", "Repeat", "Attainment", "Turns within SLO")
    return Table(
        columns=(*columns, "Longest wait", "Longest gap", "No whole answer"), rows=tuple(rows)
    )


def _driver_cell(driver: DriverQuality) -> Cell:
    if not driver.is_valid:
        return Cell(text="out of bounds", mark="fail")
    if driver.is_late:
        return Cell(text="late, which is weighed", mark="inconclusive")
    return Cell(text="valid", mark="pass")


def driver_table(trials: Sequence[Trial]) -> Table | None:
    """Returns how far the driver can be trusted, trial by trial; None where none took part."""
    rows = [
        (
            Cell(text=trial.engine),
            Cell(text=str(trial.repeat), sort_key=trial.repeat),
            _driver_cell(trial.driver),
            _cell(trial.driver.lag_p99_s, None, units.duration),
            _cell(trial.driver.lag_max_s, None, units.duration),
            _cell(trial.driver.own_time_p99_s, None, units.duration),
            Cell(text=trial.driver.time_source),
            _cell(trial.driver.coalesced_ratio, None, units.percent),
            _cell(trial.driver.max_cpu_ratio, None, units.percent),
            Cell(text=str(trial.driver.num_workers), sort_key=trial.driver.num_workers),
        )
        for trial in trials
        if trial.driver is not None
    ]
    if not rows:
        return None
    columns = ("Engine", "Repeat", "Driver", "Lag P99", "Longest lag", "Own time P99")
    more = ("Tokens stamped by", "Chunks that share a read", "Busiest worker, of a core", "Workers")
    return Table(columns=(*columns, *more), rows=tuple(rows))
