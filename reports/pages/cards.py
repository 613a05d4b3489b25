"""The cards of the first screen: the few numbers that answer the question, engine by engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.drawing.palette import Look
from reports.words import units
from reports.words.unwhole_turns import unwhole_turns

Json = Mapping[str, Any]
Shown = tuple[
    str, str, float | None
]  # the value, small print, and what the bar's length stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRow:
    engine: str
    colour: str
    value: str
    detail: str  # small print behind the value: interval, samples, or why there is none
    fill_ratio: float | None  # length of the bar, 0–1


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    title: str
    term: str  # key of the glossary
    rows: tuple[CardRow, ...]


def cards(metrics: Json, look: Mapping[str, Look]) -> list[Card]:
    engines = metrics["engines"]
    specs: list[tuple[str, str, Callable[[Json], Shown]]] = [
        ("Users within SLO", "users_within_slo", _users_within),
        ("P99 TTFT", "ttft", lambda each: _percentile(each["ttft_s"], "p99")),
        ("P99.9 TBT", "tbt", lambda each: _percentile(each["tbt_s"], "p999")),
        ("Preemptions", "preemptions", _preemptions),
        ("Failed or lost turns", "failed_lost", _failed_or_lost),
    ]
    made = []
    for title, term, read in specs:
        values = {name: read(each) for name, each in engines.items()}
        largest = max((value for _, _, value in values.values() if value is not None), default=0.0)
        scale = 1.0 if term == "users_within_slo" else largest
        rows = tuple(
            CardRow(
                engine=name,
                colour=look[name].colour,
                value=text,
                detail=detail,
                fill_ratio=value / scale if value is not None and scale else None,
            )
            for name, (text, detail, value) in values.items()
        )
        made.append(Card(title=title, term=term, rows=rows))
    return made


def _users_within(engine: Json) -> Shown:
    slo = engine["slo"]
    if slo is None:
        return units.MISSING, engine["unavailable"]["slo"], None
    ratio = slo["users_within_slo_ratio"]
    text = f"{units.count(slo['num_users_within_slo'])} of {units.count(slo['num_users'])}"
    if ends := (slo.get("interval") or {}).get("users_within_slo_ratio"):
        text += f", {units.percent_interval(ends)}"
    return units.percent(ratio), text, ratio


def _percentile(summary: Json, name: str) -> Shown:
    value = summary[name]
    if value is None:
        return units.MISSING, summary["unavailable"][name], None
    return units.duration(value), units.duration_interval(summary["interval"][name]), value


def _preemptions(engine: Json) -> Shown:
    switch = engine["context_switch"]
    if switch is None:
        return units.MISSING, engine["unavailable"]["context_switch"], None
    number = switch["num_preemptions"]
    return units.count(number), f"stalled {units.percent(switch['stall_ratio'])}", number


def _failed_or_lost(engine: Json) -> Shown:
    counts = engine["counts"]
    number = counts["failed"] + counts["lost"]
    detail = f"{unwhole_turns(engine)}, of {units.count(counts['planned'])}"
    return units.count(number), detail, number
