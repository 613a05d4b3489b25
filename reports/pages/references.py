"""Published figures beside the run's own, never as a reproduction of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.pages.tables import Cell, Table, sort_key
from reports.words import units
from reports.words.wording import times_interval_text, value_text
from suite.judging.catalogue.table import ROWS

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedTable:
    """What one source says of one pair of engines."""

    title: str
    table: Table
    notes: tuple[str, ...]


def cited_tables(references: Sequence[Json]) -> list[CitedTable]:
    """Returns a table for each source and pair of engines; `references` as in metrics.json, in its
    order."""
    groups: dict[tuple[str, ...], list[Json]] = {}
    for each in references:
        key = (published_label(each), ours_label(each), each["engine"], each["baseline"])
        groups.setdefault(key, []).append(each)
    return [
        CitedTable(
            title=f"{engine} against {baseline}: by how many times better",
            table=Table(
                columns=("", published, ours, "95 % interval", f"{baseline} → {engine} here"),
                rows=tuple(_row(each) for each in entries),
            ),
            notes=tuple(dict.fromkeys(each["note"] for each in entries if each["note"])),
        )
        for (published, ours, engine, baseline), entries in groups.items()
    ]


def published_label(entry: Json) -> str:
    return f"published ({entry['source']})"


def ours_label(entry: Json) -> str:
    return f"{entry['ours']}, simulated" if entry["is_simulated"] else str(entry["ours"])


def metric_label(metric: str) -> str:
    """Returns how a sentence calls a metric: `P99 TTFT`, `Output tokens/s`."""
    return ROWS[metric].label_in_prose


def band_text(published: units.Ends) -> str:
    """Returns a published band in words: `1.4× to 5.8×`, `up to 11.2×`, `at least 2×`."""
    low, high = published
    if low is None:
        return f"up to {units.times(high)}"
    return (
        f"at least {units.times(low)}" if high is None else units.interval(published, units.times)
    )


def reference_line(entry: Json) -> str:
    """Returns one cited figure as a line for a terminal or a comment on a pull request."""
    found = units.times(entry["times_better"])
    if entry["times_better"] is None:
        found = f"unknown ({entry['reason']})"
    elif entry["interval"] is not None:
        found += f" (95 %: {times_interval_text(entry['interval'])})"
    return (
        f"{metric_label(entry['metric'])} of {entry['engine']} against {entry['baseline']}: "
        f"{published_label(entry)} {band_text(entry['published'])} better; "
        f"{ours_label(entry)} {found}"
    )


def _row(entry: Json) -> tuple[Cell, ...]:
    metric = entry["metric"]
    values = [value_text(metric, entry[key]) for key in ("baseline_value", "value")]
    factor = entry["times_better"]
    return (
        Cell(text=metric_label(metric)),
        Cell(text=band_text(entry["published"])),
        Cell(text=units.times(factor), detail=entry["reason"], sort_key=sort_key(factor)),
        Cell(text=times_interval_text(entry["interval"])),
        Cell(text=" → ".join(values) if factor is not None else units.MISSING),
    )
