"""The cards of the first screen: the few numbers that answer the question, engine by engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.drawing.palette import Look
from reports.words import units
from reports.words.numbers import interval_at
from reports.words.unwhole_turns import unwhole_turns
from reports.words.wording import shows
from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import Metric, shown_in
from suite.judging.look_up import look_up
from suite.statistics.intervals import as_json

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
    """Returns one card a metric that is shown on the first screen, with a row for each engine."""
    return [_card(row, metrics["engines"], look) for row in shown_in("cards")]


def _card(row: Row, engines: Json, look: Mapping[str, Look]) -> Card:
    read = _READERS.get(row.name, _with_interval)
    shown = {name: read(row, each) for name, each in engines.items()}
    largest = max((value for _, _, value in shown.values() if value is not None), default=0.0)
    scale = 1.0 if row.is_never_above_1 else largest
    return Card(
        title=_TITLES.get(row.name, row.label_in_prose),
        term=row.term or row.group,
        rows=tuple(
            CardRow(
                engine=name,
                colour=look[name].colour,
                value=text,
                detail=detail,
                fill_ratio=value / scale if value is not None and scale else None,
            )
            for name, (text, detail, value) in shown.items()
        ),
    )


def _with_interval(row: Row, engine: Json) -> Shown:
    number = look_up(engine, Metric(row.name))
    if number.value is None:
        return units.MISSING, number.reason, None
    show = shows(row)
    ends = as_json(number.interval)
    return show(number.value), units.interval(ends, show), number.value


def _users_within(row: Row, engine: Json) -> Shown:
    slo = engine["slo"]
    if slo is None:
        return units.MISSING, engine["unavailable"]["slo"], None
    ratio = slo[row.key]
    text = f"{units.count(slo['num_users_within_slo'])} of {units.count(slo['num_users'])}"
    if ends := interval_at(engine, row.path):
        text += f", {units.percent_interval(ends)}"
    if fairness := engine["fairness"]:
        gap, wait = (units.duration(fairness[f"longest_{each}_s"]) for each in ("gap", "wait"))
        text += f"; longest gap {gap}, wait {wait}"
    return units.percent(ratio), text, ratio


def _preemptions(row: Row, engine: Json) -> Shown:
    switch = engine["context_switch"]
    if switch is None:
        return units.MISSING, engine["unavailable"]["context_switch"], None
    number = switch[row.key]
    return units.count(number), f"stalled {units.percent(switch['stall_ratio'])}", number


def _failed_or_lost(row: Row, engine: Json) -> Shown:
    counts = engine["counts"]
    number = counts["failed"] + counts["lost"]
    detail = f"{unwhole_turns(engine)}, of {units.count(counts['planned'])}"
    return units.count(number), detail, number


# Cards that say more than a value and its interval.
_READERS: dict[str, Callable[[Row, Json], Shown]] = {
    "slo.users_within_slo_ratio": _users_within,
    "context_switch.num_preemptions": _preemptions,
    "counts.failed": _failed_or_lost,
}
_TITLES = {"counts.failed": "Failed or lost turns"}
