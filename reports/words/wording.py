"""Numbers, intervals and verdicts as plain words: for the terminal, Markdown and JUnit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reports.words import units
from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import ROWS, shown_in

Json = Mapping[str, Any]
OUTCOMES = ("fail", "inconclusive", "pass")  # worst first
VERDICTS = ("worse", "better", "unclear", "same", "missing")
EXACT_NOTE = "Runs in virtual time always come out alike: they are told apart by the number alone."
HEADLINE = tuple(row.name for row in shown_in("headline"))


def value_text(metric: str, value: float | None) -> str:
    """Returns the value as its metric reads: 1.24 s, 98 %, 1.7×, 12.2 GiB/s, 1,240."""
    return shows(ROWS[metric])(value)


def shows(row: Row) -> Callable[[float | None], str]:
    """Returns how a metric's values are written."""
    if row.unit == "bytes/s":
        return units.rate
    by_kind = {"time": units.duration, "share": units.percent, "multiple": units.times}
    return by_kind.get(row.kind, units.count)


def begun_small(label: str) -> str:
    """Returns a label as it reads within a line: small at its start, but for abbreviations."""
    return label if label[:2].isupper() else label[0].lower() + label[1:]


def interval_text(metric: str, interval: units.Ends | None) -> str:
    """Returns the interval in its metric's unit, `0.99 s to 1.4 s`; an open end is said in
    words."""
    return units.interval(interval, partial(value_text, metric))


def times_interval_text(interval: units.Ends | None) -> str:
    """Returns the interval of a ratio in words: `0.81× to 0.93×`."""
    return units.interval(interval, units.times)


def worst_first(gates: Sequence[Json]) -> list[Json]:
    return sorted(gates, key=lambda gate: OUTCOMES.index(gate["outcome"]))


def gate_name(gate: Json) -> str:
    """Returns a gate with its engine in front, said once."""
    prefix = f"{gate['engine']}: "
    return prefix + str(gate["gate"]).removeprefix(prefix)


def gate_text(gate: Json) -> str:
    """Says what was found, what it was held against, why it is open, what would settle it."""
    metric = gate["metric"]
    found = gate["observed"]
    text = "has no number" if found is None else f"got {value_text(metric, found)}"
    if gate["interval"]:
        text += f" (95 %: {interval_text(metric, gate['interval'])})"
    if gate["baseline"] is not None and gate["bound"] is not None:
        text += f", bound {value_text(metric, gate['bound'])} from {gate['baseline']}"
    if gate["reason"]:
        text += f"; {gate['reason']}"
    return text + settling_text(gate)


def settling_text(gate: Json) -> str:
    ways = []
    if gate["more_conversations"]:
        ways.append(f"about {gate['more_conversations']:,} more conversations")
    if gate["more_repeats"]:
        ways.append(f"about {gate['more_repeats']:,} more repeats")
    return f"; {' and '.join(ways)} would settle it if the numbers stay" if ways else ""


def compared_rows(entries: Sequence[Json], *, has_all: bool = False) -> list[Json]:
    """Returns what is worth a line, the worst news first: what differs, and the headline; with
    `has_all` everything that has a ratio."""
    kept = [
        each
        for each in entries
        if each["verdict"] in VERDICTS[:2]
        or (each["verdict"] != "missing" and (has_all or _is_headline(each)))
    ]
    return sorted(kept, key=lambda each: VERDICTS.index(each["verdict"]))


def comparison_notes(comparison: Json) -> list[str]:
    """Returns what a reader of the ratios has to know of how they were judged."""
    notes = []
    if comparison["sides"] and all(each.get("is_exact") for each in comparison["sides"]):
        notes.append(f"{EXACT_NOTE} The intervals say how far other conversations could differ.")
    if not comparison["is_paired"]:
        notes.append("Not paired: intervals are wider than on the same plan.")
    return notes


def _is_headline(entry: Json) -> bool:
    return entry["user_class"] is None and entry["metric"] in HEADLINE


def entry_name(entry: Json) -> str:
    return str(entry["metric"]) + (f"[{entry['user_class']}]" if entry["user_class"] else "")
