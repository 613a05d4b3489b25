"""Two engines held against each other, metric by metric: better, worse, unclear or the same."""

from __future__ import annotations

from typing import Any

from suite.judging.catalogue.table import Metric, metrics_of
from suite.judging.lateness import NOTE as LATE
from suite.judging.look_up import Number
from suite.judging.ratios import REPEATS_WOULD_TELL, UNSEEN, Ratio, ratio_of
from suite.judging.sides import Side, are_exact
from suite.statistics.intervals import as_json
from suite.statistics.quantiles import Interval


def compare_sides(side: Side, base: Side) -> list[dict[str, Any]]:
    """Returns one entry a metric, as docs/metrics.md has them (Comparisons)."""
    classes = side.paired_samples.user_classes if side.paired_samples is not None else ()
    metrics = metrics_of(classes, "compared", "compared by class")
    return [_compared(side, base, metric) for metric in metrics]


def _compared(side: Side, base: Side, metric: Metric) -> dict[str, Any]:
    mine, other, ratio = side.number(metric), base.number(metric), ratio_of(side, base, metric)
    verdict, reason = _verdict(metric, mine, other, ratio, is_exact=are_exact(side, base))
    doubt = side.doubt(metric) or base.doubt(metric)
    if doubt is not None and verdict not in ("same", "missing"):
        verdict, reason = "unclear", doubt
    return {
        "metric": metric.name,
        "user_class": metric.user_class,
        "unit": metric.row.unit_of_bounds,
        "better": metric.row.better,
        "value": mine.value,
        "baseline": other.value,
        "value_interval": as_json(mine.interval),
        "baseline_interval": as_json(other.interval),
        "ratio": ratio.value,
        "interval": as_json(ratio.judged_interval),
        "within_runs": as_json(ratio.interval),
        "between_runs": _between_runs(ratio),
        "verdict": verdict,
        "reason": reason,
    }


def _between_runs(ratio: Ratio) -> dict[str, Any] | None:
    if not ratio.ratios_of_runs and ratio.between_runs is None:
        return None
    return {"ratios": list(ratio.ratios_of_runs), "interval": as_json(ratio.between_runs)}


def _verdict(
    metric: Metric, mine: Number, other: Number, ratio: Ratio, *, is_exact: bool
) -> tuple[str, str]:
    """(verdict, reason)."""
    if mine.value is not None and mine.value == other.value:
        return "same", ""
    if ratio.value is None:
        return "missing", ratio.reason
    if is_exact:
        is_lower, is_higher = ratio.value < 1, ratio.value > 1
    elif ratio.whole_interval is None:
        return "unclear", f"one number a run: {REPEATS_WOULD_TELL}"
    else:
        is_lower, is_higher = _beside_one(ratio.judged_interval)
    if not is_lower and not is_higher:
        return "unclear", _why_unclear(ratio)
    return "better" if is_lower == (metric.row.better == "lower") else "worse", ""


def _why_unclear(ratio: Ratio) -> str:
    """Says what made the interval hold 1: its own width, repeats that are missing, or lateness."""
    if not any(_beside_one(ratio.whole_interval)):
        return "the interval of the ratio holds 1"
    return LATE if any(_beside_one(ratio.cautious_interval)) else UNSEEN


def _beside_one(interval: Interval | None) -> tuple[bool, bool]:
    """(the whole of it is below 1, above 1)."""
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return high is not None and high < 1, low is not None and low > 1
