"""Engines side by side, a line a number; what is called better is what the intervals allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.pages.compared import entry
from reports.pages.tables import Cell, Table, sort_key
from reports.words import units
from reports.words.numbers import interval_at, value_at
from reports.words.wording import shows, times_interval_text
from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import shown_in
from suite.judging.ratios import UNSEEN_LEVEL
from suite.statistics.student import MIN_REPEATS

Json = Mapping[str, Any]


def comparison_table(metrics: Json) -> Table:
    """Returns engines as columns; beside each value its multiple of the baseline's, and what the
    interval of that allows to say. Nothing is called better without such an interval."""
    engines, baseline = metrics["engines"], metrics["baseline"]
    return Table(
        columns=("", *(f"{name} (baseline)" if name == baseline else name for name in engines)),
        rows=tuple(
            line
            for row in shown_in("side by side")
            if (line := _comparison_line(row, metrics, engines)) is not None
        ),
    )


def how_to_read(metrics: Json) -> str:
    if metrics["baseline"] is None:
        return (
            "The workload names no baseline, so nothing is compared; overlapping intervals mean "
            "that the run does not tell two engines apart."
        )
    return (
        f"Beside each value its 95 % interval, and its multiple of {metrics['baseline']}'s with "
        "the interval that judges. It is called better or worse only where that excludes 1. With "
        f"fewer than {MIN_REPEATS} repeats it reaches {UNSEEN_LEVEL:g} times further on either "
        "side, for how far runs differ is not known (in virtual time one plan always gives the "
        "same numbers: there the multiple alone judges)."
    )


def _comparison_line(row: Row, metrics: Json, engines: Json) -> tuple[Cell, ...] | None:
    """None for a metric that no engine has a number for."""
    values = {name: value_at(each, row.path) for name, each in engines.items()}
    if all(value is None for value in values.values()):
        return None
    cells = [_value_cell(row, metrics, name, value) for name, value in values.items()]
    return (Cell(text=row.label), *cells)


def _value_cell(row: Row, metrics: Json, name: str, value: float | None) -> Cell:
    show, found = shows(row), entry(metrics, name, row.name)
    interval = interval_at(metrics["engines"][name], row.path)
    details = [units.interval(interval, show)] if interval else []
    mark = ""
    if found is not None and found["ratio"] is not None:
        ratio = units.times(found["ratio"])
        if found["interval"]:
            ratio += f" ({times_interval_text(found['interval'])})"
        details.append(f"{found['verdict']}: {ratio}")  # "0.5× better" would be half as good
        mark = found["verdict"] if found["verdict"] in ("better", "worse") else ""
    return Cell(text=show(value), detail=" · ".join(details), sort_key=sort_key(value), mark=mark)
