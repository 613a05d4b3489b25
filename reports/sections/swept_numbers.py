"""The metrics that the pages of a sweep show along its setting, as the catalogue names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.words import units
from reports.words.numbers import interval_at, value_at
from reports.words.wording import shows
from suite.judging.catalogue.row import Kind, Row
from suite.judging.catalogue.table import ROWS, shown_in

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptNumber:
    """One metric, read from an engine's part of metrics.json."""

    row: Row
    name: str  # in the figures' ids

    @property
    def title(self) -> str:
        return self.row.label_in_prose

    @property
    def kind(self) -> Kind:
        return self.row.kind

    def read(self, numbers: Json) -> tuple[float | None, units.Ends | None]:
        """Returns the value and its interval; None where it was not measured."""
        return value_at(numbers, self.row.path), interval_at(numbers, self.row.path)

    def show(self, value: float | None) -> str:
        return shows(self.row)(value)


def _number(row: Row) -> SweptNumber:
    return SweptNumber(row=row, name=row.group if row.is_latency else row.key)


# Those that other sections ask for by themselves.
USERS = SweptNumber(row=ROWS["slo.users_within_slo_ratio"], name="users")
TOKENS = SweptNumber(row=ROWS["throughput.output_tokens_per_s"], name="tokens")
OTHERS = tuple(
    TOKENS if row == TOKENS.row else _number(row)
    for row in shown_in("sweep page")
    if row != USERS.row
)
