"""Every number that can be gated or compared, by name: `ttft.p99`, `slo.users_within_slo_ratio`.

`look_up` finds one in an engine's part of metrics.json, with its interval or the reason why there
is no number.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from suite.statistics.quantiles import PERCENTILES, Interval

LATENCY_METRICS = (
    "ttft",
    "first_token_delay",
    "tbt",
    "max_tbt",
    "tpot",
    "e2e",
    "normalised_latency",
    "driver_lag",
)
PERCENTILE_NAMES = tuple(PERCENTILES)
STATISTICS = ("mean", *PERCENTILE_NAMES, "max")
_LOWER, _HIGHER = "lower", "higher"
# Key → which way is better, by group.
_SCALARS: dict[str, dict[str, str]] = {
    "slo": dict.fromkeys(
        ("users_within_slo_ratio", "turn_attainment_ratio", "fluidity_index"), _HIGHER
    ),
    "fairness": {
        "jain_index": _HIGHER,
        "jain_service_index": _HIGHER,
        "gini_index": _LOWER,
        "gini_service_index": _LOWER,
        "max_service_difference": _LOWER,
        "window_service_difference_max": _LOWER,
        "window_service_difference_mean": _LOWER,
        "window_service_difference_variance": _LOWER,
        "worst_user_attainment_ratio": _HIGHER,
        "p5_user_attainment_ratio": _HIGHER,
        "mean_user_attainment_ratio": _HIGHER,
        "headroom_mean_ratio": _HIGHER,
        "headroom_best_user_ratio": _LOWER,
        "headroom_top_decile_ratio": _LOWER,
        "slowdown_mean": _LOWER,
        "slowdown_p50": _LOWER,
        "slowdown_p99": _LOWER,
        "slowdown_max": _LOWER,
        "longest_gap_s": _LOWER,
        "longest_wait_s": _LOWER,
        "num_abandoned_turns": _LOWER,
        "abandoned_turns_ratio": _LOWER,
    },
    "throughput": dict.fromkeys(
        ("output_tokens_per_s", "turns_per_s", "goodput_turns_per_s"), _HIGHER
    ),
    "steady_state": {"served_ratio": _HIGHER},
    "context_switch": {
        "num_preemptions": _LOWER,
        "num_recompute_preemptions": _LOWER,
        "num_swap_out_blocks": _LOWER,
        "num_swap_in_blocks": _LOWER,
        "num_copies": _LOWER,
        "num_copied_bytes": _LOWER,
        "num_conflicts": _LOWER,
        "num_sync_swap_ins": _LOWER,
        "num_async_swap_ins": _HIGHER,
        "num_contaminated_blocks": _LOWER,
        "num_group_splits": _LOWER,
        "mean_blocks_per_copy": _HIGHER,
        "swap_out_bytes_per_s": _HIGHER,
        "swap_in_bytes_per_s": _HIGHER,
        "stall_s": _LOWER,
        "stall_ratio": _LOWER,
        "bookkeeping_s": _LOWER,
        "bookkeeping_ratio": _LOWER,
        "num_reused_tokens": _HIGHER,
        "num_recomputed_tokens": _LOWER,
        "reused_tokens_ratio": _HIGHER,
    },
    "counts": {"failed": _LOWER, "lost": _LOWER},
}
SCALAR_METRICS = tuple(f"{group}.{key}" for group, keys in _SCALARS.items() for key in keys)
METRICS = (
    *(f"{metric}.{statistic}" for metric in LATENCY_METRICS for statistic in STATISTICS),
    *SCALAR_METRICS,
)
ALLOWED = (
    f"{', '.join(LATENCY_METRICS)} with .{', .'.join(STATISTICS)}; {', '.join(SCALAR_METRICS)}"
)
_SLOWDOWNS = ("slowdown_mean", "slowdown_p50", "slowdown_p99", "slowdown_max")
_SUMS = ("stall_s", "bookkeeping_s", "failed", "lost")
_EXTREMES = (
    "max_service_difference",
    "window_service_difference_max",
    "worst_user_attainment_ratio",
    "headroom_best_user_ratio",
    "slowdown_max",
    "longest_gap_s",
    "longest_wait_s",
    "served_ratio",
)
_UNTIMED = ("driver_lag", "context_switch", "counts")  # what a late driver does not falsify


def unknown_metric(name: str) -> str:
    """What to say of a name that is none of METRICS."""
    near = difflib.get_close_matches(name.replace("_s.", "."), METRICS, n=1)
    advice = f"did you mean {near[0]!r}? All are in docs/metrics.md, Gates" if near else None
    return f"metric {name!r} is unknown; {advice or f'choose from: {ALLOWED}'}"


@dataclass(frozen=True)
class Metric:
    """One number of an engine, all users' or one class's."""

    name: str  # one of METRICS
    user_class: str | None = None

    @property
    def group(self) -> str:
        return self.name.split(".")[0]

    @property
    def key(self) -> str:
        return self.name.split(".")[1]

    @property
    def label(self) -> str:
        return self.name + (f"[{self.user_class}]" if self.user_class else "")

    @cached_property
    def is_latency(self) -> bool:
        return self.group in LATENCY_METRICS

    @property
    def is_percentile(self) -> bool:
        return self.is_latency and self.key in PERCENTILE_NAMES

    @property
    def is_duration(self) -> bool:
        return self.is_latency or (self.key.endswith("_s") and not self.key.endswith("_per_s"))

    @property
    def unit(self) -> Literal["s", ""]:
        return "s" if self.is_duration else ""

    @property
    def better(self) -> str:
        return _LOWER if self.is_latency else _SCALARS[self.group][self.key]

    @property
    def can_have_class(self) -> bool:
        return self.is_latency or self.group == "slo" or self.key in _SLOWDOWNS

    @property
    def is_share(self) -> bool:
        """Never above 1."""
        if self.is_latency or self.name == "steady_state.served_ratio":
            return False
        return self.key.endswith("_ratio") or self.key in (
            "fluidity_index",
            "jain_index",
            "jain_service_index",
            "gini_index",
            "gini_service_index",
        )

    @property
    def pooled_by(self) -> Literal["mean", "sum", "extreme"]:
        """How an engine's number comes from its repeats': like a mean of theirs, as their sum, or
        as the worst or best of them."""
        if self.key in _EXTREMES or (self.is_latency and self.key == "max"):
            return "extreme"
        return "sum" if self.key in _SUMS or self.key.startswith("num_") else "mean"

    @property
    def is_count_of_turns(self) -> bool:
        """Which were answered or not: no measure of how fast a machine was."""
        return self.group == "counts"

    @property
    def is_of_gaps(self) -> bool:
        """Whether chunks that came or were read together could have changed it."""
        return self.group in ("tbt", "max_tbt")

    @property
    def is_timed(self) -> bool:
        """Whether a driver out of its bounds could have changed it."""
        return self.group not in _UNTIMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A metric's value as found; None with the reason."""

    value: float | None
    interval: Interval | None = None
    num_samples: int | None = None
    num_effective: float | None = None
    reason: str = ""


def look_up(metrics: Mapping[str, Any], metric: Metric) -> Number:
    """In an engine's part of metrics.json, or one repeat's.

    An engine that never ran lost everything and failed nothing: that is no observation.
    """
    if why := _why_nothing(metrics, metric):
        return Number(value=None, reason=why)
    if metric.is_latency:
        scope = metrics
        if metric.user_class is not None:
            scope = metrics["by_class"][metric.user_class]
        return _of_summary(scope[f"{metric.group}_s"], metric.key)
    values = metrics[metric.group]
    if values is None:
        why = metrics["unavailable"].get(metric.group, "it was not measured")
        return Number(value=None, reason=why)
    if metric.user_class is not None:
        values = values["by_class"][metric.user_class]
    found = values.get(metric.key)
    if found is None:
        why = (values.get("unavailable") or {}).get(metric.key, "nothing was measured")
        return Number(value=None, reason=why)
    return Number(
        value=float(found),
        interval=_interval((values.get("interval") or {}).get(metric.key)),
        num_samples=values.get("num_users") if metric.group == "slo" else None,
    )


def _why_nothing(metrics: Mapping[str, Any], metric: Metric) -> str:
    """Empty where there may be a number."""
    if metrics["counts"]["recorded"] == 0:
        return "no turn of this engine was recorded"
    if metric.user_class is not None and metric.user_class not in metrics["by_class"]:
        return f"its plan has no user class {metric.user_class!r}"
    return ""


def _of_summary(summary: Mapping[str, Any], key: str) -> Number:
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


def between_runs_of(metrics: Mapping[str, Any], metric: Metric) -> Mapping[str, Any] | None:
    """`values` and `interval` over the repeats; None with a single one."""
    found = (metrics["between_runs"] or {}).get(metric.label)
    return found if isinstance(found, Mapping) else None
