"""All metrics in one table, by the name that gates and comparisons know: `ttft.p99`,
`slo.users_within_slo_ratio`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from suite.judging.catalogue.latencies import FAMILIES, STATISTICS, latency_rows
from suite.judging.catalogue.row import Place, Row
from suite.judging.catalogue.users import FAIRNESS_ROWS, SLO_ROWS
from suite.judging.catalogue.work import (
    BACKLOG_ROWS,
    SWITCHING_ROWS,
    THROUGHPUT_ROWS,
    TURN_COUNT_ROWS,
)

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        *latency_rows(),
        *SLO_ROWS,
        *FAIRNESS_ROWS,
        *THROUGHPUT_ROWS,
        *BACKLOG_ROWS,
        *SWITCHING_ROWS,
        *TURN_COUNT_ROWS,
    )
}
METRICS = tuple(name for name, row in ROWS.items() if row.is_gated)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of an engine, all users' or one class's."""

    name: str  # one of ROWS
    user_class: str | None = None

    @property
    def row(self) -> Row:
        return ROWS[self.name]

    @property
    def label(self) -> str:
        """`ttft.p99[interactive]`"""
        return self.name + (f"[{self.user_class}]" if self.user_class else "")


def metrics_of(
    user_classes: Iterable[str], place: Place | None = None, place_of_classes: Place | None = None
) -> list[Metric]:
    """Returns every gated metric of all users, then for each class those that are known by class;
    only those shown in a place where one is named."""
    rows = [ROWS[name] for name in METRICS]
    found = [Metric(row.name) for row in rows if place is None or place in row.shown_in]
    return found + [
        Metric(row.name, user_class)
        for user_class in user_classes
        for row in rows
        if "class" in row.scopes and (place_of_classes is None or place_of_classes in row.shown_in)
    ]


def shown_in(place: Place) -> list[Row]:
    """Returns the rows of a place in reading order: who was served first, the rest as in the
    table."""
    rows = [row for row in ROWS.values() if place in row.shown_in]
    return sorted(rows, key=lambda row: row.group != "slo")


def unknown_metric(name: str) -> str:
    """Returns what to say of a name that is none of METRICS."""
    near = difflib.get_close_matches(name.replace("_s.", "."), METRICS, n=1)
    advice = f"did you mean {near[0]!r}? All are in docs/metrics.md, Gates" if near else None
    return f"metric {name!r} is unknown; {advice or f'choose from: {_choices()}'}"


def _choices() -> str:
    latencies = ", ".join(family.name for family in FAMILIES)
    others = ", ".join(name for name in METRICS if not ROWS[name].is_latency)
    return f"{latencies} with .{', .'.join(STATISTICS)}; {others}"
