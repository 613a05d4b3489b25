"""Numbers, intervals and verdicts as plain words: for the terminal, Markdown and JUnit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from reports.words import units
from suite.judging.catalogue import Metric

Json = Mapping[str, Any]
OUTCOMES = ("fail", "inconclusive", "pass")  # worst first
VERDICTS = ("worse", "better", "unclear", "same", "missing")
# Worth a line in a comparison even where nothing can be told apart.
HEADLINE = (
    "slo.users_within_slo_ratio",
    "ttft.p50",
    "ttft.p99",
    "ttft.p999",
    "tbt.p50",
    "tbt.p99",
    "tbt.p999",
    "fairness.jain_index",
    "fairness.worst_user_attainment_ratio",
    "throughput.output_tokens_per_s",
)


def value_text(metric: str, value: float | None) -> str:
    """In the unit of the metric."""
    named = Metric(metric)
    if named.is_duration:
        return units.duration(value)
    if named.key.endswith("bytes_per_s"):
        return units.rate(value)
    if named.key.endswith("_ratio") and named.is_share:
        return units.percent(value)
    return units.count(value)


def interval_text(metric: str, interval: units.Ends | None) -> str:
    """`0.99 s to 1.4 s`; an open end is said in words."""
    return units.interval(interval, partial(value_text, metric))


def times_interval_text(interval: units.Ends | None) -> str:
    """The same of a ratio: `0.81× to 0.93×`."""
    return units.interval(interval, units.times)


def worst_first(gates: Sequence[Json]) -> list[Json]:
    return sorted(gates, key=lambda gate: OUTCOMES.index(gate["outcome"]))


def gate_name(gate: Json) -> str:
    """With its engine in front, said once."""
    prefix = f"{gate['engine']}: "
    return prefix + str(gate["gate"]).removeprefix(prefix)


def gate_text(gate: Json) -> str:
    """What was found, what it was held against, why it is open, what would settle it."""
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
    """What is worth a line, the worst news first: what differs, and the headline; with `has_all`
    everything that has a ratio."""
    kept = [
        each
        for each in entries
        if each["verdict"] in VERDICTS[:2]
        or (each["verdict"] != "missing" and (has_all or _is_headline(each)))
    ]
    return sorted(kept, key=lambda each: VERDICTS.index(each["verdict"]))


def _is_headline(entry: Json) -> bool:
    return entry["user_class"] is None and entry["metric"] in HEADLINE


def entry_name(entry: Json) -> str:
    return str(entry["metric"]) + (f"[{entry['user_class']}]" if entry["user_class"] else "")
