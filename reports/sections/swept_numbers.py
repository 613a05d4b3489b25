"""The numbers of an engine that the pages of a sweep show along its setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reports.words import units

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptNumber:
    name: str  # in the figures' ids
    title: str
    kind: Literal["share", "duration", "count"]
    group: str  # where it lies in an engine's part of metrics.json
    key: str

    def read(self, numbers: Json) -> tuple[float | None, units.Ends | None]:
        """Returns the value and its interval; None where it was not measured."""
        found = numbers[self.group] or {}
        return found.get(self.key), (found.get("interval") or {}).get(self.key)

    def show(self, value: float | None) -> str:
        match self.kind:
            case "share":
                return units.percent(value)
            case "duration":
                return units.duration(value)
            case "count":
                return units.count(value)


def _number(
    name: str, title: str, kind: Literal["share", "duration", "count"], at: str
) -> SweptNumber:
    group, _, key = at.partition(".")
    return SweptNumber(name=name, title=title, kind=kind, group=group, key=key)


USERS = _number("users", "Users within SLO", "share", "slo.users_within_slo_ratio")
TOKENS = _number("tokens", "Output tokens/s", "count", "throughput.output_tokens_per_s")
OTHERS = (
    _number("attainment", "Turns within SLO", "share", "slo.turn_attainment_ratio"),
    _number("ttft", "P99 TTFT", "duration", "ttft_s.p99"),
    _number("tbt", "P99 TBT", "duration", "tbt_s.p99"),
    TOKENS,
    _number("goodput", "Turns within SLO/s", "count", "throughput.goodput_turns_per_s"),
    _number("preemptions", "Preemptions", "count", "context_switch.num_preemptions"),
)
