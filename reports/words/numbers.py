"""Finds a metric's value and interval in an engine's part of metrics.json, by its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reports.words import units
from suite.judging.catalogue.row import Row

Json = Mapping[str, Any]


def value_at(numbers: Json, path: Sequence[str]) -> Any:
    """None where any group on the way was not measured."""
    found: Any = numbers
    for key in path:
        found = (found or {}).get(key)
    return found


def class_path(row: Row, user_class: str) -> tuple[str, ...]:
    """Returns where one class's number of a metric lies: latencies by class stand together."""
    if row.is_latency:
        return ("by_class", user_class, *row.path)
    return (row.group, "by_class", user_class, row.key)


def interval_at(numbers: Json, path: Sequence[str]) -> units.Ends | None:
    """Returns what stands beside the value under `interval`; None without one."""
    group = value_at(numbers, path[:-1])
    found = (group or {}).get("interval") or {} if isinstance(group, Mapping | None) else {}
    return cast("units.Ends | None", found.get(path[-1]))
