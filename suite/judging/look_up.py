"""Finds a metric in an engine's numbers, with its interval or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import Metric
from suite.statistics.quantiles import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A metric's value as found; None with the reason."""

    value: float | None
    interval: Interval | None = None
    num_samples: int | None = None
    num_effective: float | None = None
    reason: str = ""


def look_up(numbers: Mapping[str, Any], metric: Metric) -> Number:
    """Returns the metric from an engine's part of metrics.json, or from one repeat's.

    An engine that never ran lost everything and failed nothing: that is no observation.
    """
    if why := _why_nothing(numbers, metric):
        return Number(value=None, reason=why)
    row = metric.row
    if row.is_latency:
        scope = numbers if metric.user_class is None else numbers["by_class"][metric.user_class]
        return _statistic(scope[row.path[0]], row.key)
    values = numbers[row.group]
    if values is None:
        why = numbers["unavailable"].get(row.group, "it was not measured")
        return Number(value=None, reason=why)
    if metric.user_class is not None:
        values = values["by_class"][metric.user_class]
    return _in_group(values, row)


def _why_nothing(numbers: Mapping[str, Any], metric: Metric) -> str:
    """Empty where there may be a number."""
    if numbers["counts"]["recorded"] == 0:
        return "no turn of this engine was recorded"
    if metric.user_class is not None and metric.user_class not in numbers["by_class"]:
        return f"its plan has no user class {metric.user_class!r}"
    return ""


def _in_group(values: Mapping[str, Any], row: Row) -> Number:
    found = values.get(row.key)
    if found is None:
        why = (values.get("unavailable") or {}).get(row.key, "nothing was measured")
        return Number(value=None, reason=why)
    return Number(
        value=float(found),
        interval=_interval((values.get("interval") or {}).get(row.key)),
        num_samples=values.get("num_users") if row.group == "slo" else None,
    )


def _statistic(summary: Mapping[str, Any], key: str) -> Number:
    if summary[key] is None:
        return Number(value=None, reason=summary["unavailable"].get(key, "nothing was measured"))
    return Number(
        value=summary[key],
        interval=_interval(summary["interval"].get(key)),
        num_samples=summary["count"],
        num_effective=summary["num_effective"].get(key),
    )


def _interval(ends: list[float | None] | None) -> Interval | None:
    return None if ends is None else Interval(low=ends[0], high=ends[1])


def repeats_of(numbers: Mapping[str, Any], metric: Metric) -> Mapping[str, Any] | None:
    """Returns `values` and `interval` over the repeats; None with a single one."""
    found = (numbers["between_runs"] or {}).get(metric.label)
    return found if isinstance(found, Mapping) else None
