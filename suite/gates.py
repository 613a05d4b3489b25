"""Gates: one line of text each, held against metrics.json.

    [ENGINE:] METRIC[.STATISTIC][[CLASS]] OPERATOR BOUND

    ttft.p99 <= 1.5s                             every engine
    fastswitch: tbt.p999 <= 1.05 * baseline      one engine, against the baseline's own number
    ttft.p99[interactive] <= 800ms               one user class
    slo.users_within_slo_ratio >= 0.9

A gate without an engine applies to every engine; one against the baseline skips the baseline.
A percentile passes or fails only when its whole interval lies on one side of the bound, and is
inconclusive otherwise; any other number is simply compared.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import exp, hypot, inf, log
from typing import Any, Literal, cast

from suite.errors import InputError
from workloads.units import parse_duration

LATENCY_METRICS = ("ttft", "first_token_delay", "tbt", "tpot", "e2e", "driver_lag")
PERCENTILE_NAMES = ("p50", "p90", "p95", "p99", "p999")
STATISTICS = ("mean", *PERCENTILE_NAMES, "max")
SLO_METRICS = ("slo.users_within_slo_ratio", "slo.turn_attainment_ratio")
SCALAR_METRICS = (
    *SLO_METRICS,
    "fairness.jain_index",
    "fairness.jain_service_index",
    "fairness.max_service_difference",
    "fairness.worst_user_attainment_ratio",
    "fairness.p5_user_attainment_ratio",
    "fairness.mean_user_attainment_ratio",
    "fairness.longest_gap_s",
    "throughput.output_tokens_per_s",
    "throughput.turns_per_s",
    "context_switch.num_preemptions",
    "context_switch.num_swap_out_blocks",
    "context_switch.num_swap_in_blocks",
    "context_switch.num_copies",
    "context_switch.num_conflicts",
    "context_switch.num_sync_swap_ins",
    "context_switch.num_async_swap_ins",
    "context_switch.num_contaminated_blocks",
    "context_switch.num_group_splits",
    "context_switch.mean_blocks_per_copy",
    "context_switch.swap_out_bytes_per_s",
    "context_switch.swap_in_bytes_per_s",
    "context_switch.stall_s",
    "context_switch.stall_ratio",
    "context_switch.reused_tokens_ratio",
    "counts.failed",
    "counts.lost",
)
METRICS = (
    *(f"{metric}.{statistic}" for metric in LATENCY_METRICS for statistic in STATISTICS),
    *SCALAR_METRICS,
)
ALLOWED = (
    f"{', '.join(LATENCY_METRICS)} with .{', .'.join(STATISTICS)}; {', '.join(SCALAR_METRICS)}"
)
DURATION_SCALARS = ("fairness.longest_gap_s", "context_switch.stall_s")

Operator = Literal["<=", "<", ">=", ">"]
_GATE = re.compile(
    r"(?:(?P<engine>[^:\s]+)\s*:\s*)?(?P<metric>[\w.]+)(?:\[(?P<user_class>[^\]]+)\])?"
    r"\s*(?P<operator><=|>=|<|>)\s*(?P<bound>.+)"
)
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_TIMES_BASELINE = re.compile(rf"(?:(?P<factor>{_NUMBER})\s*\*\s*)?baseline")


class GateError(InputError):
    """A gate that can not be understood. One line: which gate, what is wrong, what to write."""


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    text: str
    engine: str | None  # None = every engine
    metric: str  # one of METRICS
    user_class: str | None  # None = all users
    operator: Operator
    bound: float  # in seconds for durations; the factor where it is times_baseline
    is_times_baseline: bool

    @property
    def is_duration(self) -> bool:
        return self.metric in DURATION_SCALARS or self.metric.split(".")[0] in LATENCY_METRICS

    @property
    def is_upper_bound(self) -> bool:
        return self.operator in ("<=", "<")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """One gate held against one engine. Seconds where `unit` is "s"."""

    gate: str
    engine: str
    metric: str
    user_class: str | None
    operator: str
    observed: float | None
    bound: float | None  # resolved: for a gate against the baseline, factor · its number
    interval: tuple[float | None, float | None] | None  # of what is held against the bound
    num_samples: int | None
    unit: Literal["s", ""]
    outcome: Outcome
    reason: str

    def as_json(self) -> dict[str, Any]:
        interval = None if self.interval is None else list(self.interval)
        return {**asdict(self), "interval": interval, "outcome": str(self.outcome)}


def parse_gate(text: str) -> Gate:
    """Raises GateError."""
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise GateError(
            f"gate {text!r}: must read METRIC <= BOUND or METRIC >= BOUND, such as "
            "'ttft.p99 <= 1.5s', 'tbt.p999 <= 1.05 * baseline' or 'mine: ttft.p99[batch] <= 2s'"
        )
    metric, user_class = match["metric"], match["user_class"]
    if metric not in METRICS:
        raise GateError(f"gate {text!r}: metric {metric!r} is unknown;{_nearest(metric)}{ALLOWED}")
    if user_class and metric in SCALAR_METRICS and metric not in SLO_METRICS:
        raise GateError(
            f"gate {text!r}: {metric} is not known per user class; "
            f"drop [{user_class}], or use a latency or an slo metric"
        )
    gate = Gate(
        text=text.strip(),
        engine=match["engine"],
        metric=metric,
        user_class=user_class,
        operator=cast(Operator, match["operator"]),
        bound=1.0,
        is_times_baseline=False,
    )
    return _with_bound(gate, match["bound"].strip())


def _nearest(metric: str) -> str:
    near = difflib.get_close_matches(metric.replace("_s.", "."), METRICS, n=1)
    return f" did you mean {near[0]!r}? Choose from: " if near else " choose from: "


def _with_bound(gate: Gate, bound: str) -> Gate:
    if against := _TIMES_BASELINE.fullmatch(bound):
        return replace(gate, bound=float(against["factor"] or 1), is_times_baseline=True)
    if gate.is_duration:
        try:
            return replace(gate, bound=parse_duration(bound))
        except ValueError as error:
            raise GateError(f"gate {gate.text!r}: the bound {error}, or 1.05 * baseline") from error
    if not re.fullmatch(_NUMBER, bound):
        raise GateError(
            f"gate {gate.text!r}: {gate.metric} has no unit, got the bound {bound!r}; "
            "write a plain number such as 0.9, or 1.05 * baseline"
        )
    return replace(gate, bound=float(bound))


def parse_gates(
    texts: Iterable[str],
    *,
    engines: Sequence[str],
    user_classes: Sequence[str],
    baseline: str | None,
) -> tuple[Gate, ...]:
    """Every gate, with its engine and class known to the workload. Raises GateError."""
    gates = tuple(parse_gate(text) for text in texts)
    for gate in gates:
        _check_scope(gate, "engine", gate.engine, engines)
        _check_scope(gate, "user class", gate.user_class, user_classes)
        if gate.is_times_baseline and baseline is None:
            raise GateError(
                f"gate {gate.text!r}: the workload names no baseline; add `baseline: ENGINE`"
            )
        if gate.is_times_baseline and gate.engine == baseline:
            raise GateError(f"gate {gate.text!r}: holds the baseline {baseline!r} against itself")
    return gates


def _check_scope(gate: Gate, what: str, name: str | None, known: Sequence[str]) -> None:
    if name is not None and name not in known:
        raise GateError(
            f"gate {gate.text!r}: {what} {name!r} is unknown; choose one of: {', '.join(known)}"
        )


def evaluate(
    gates: Iterable[Gate], engines: Mapping[str, Any], baseline: str | None
) -> list[GateOutcome]:
    """`engines` as in metrics.json. One outcome per gate and engine it applies to."""
    return [
        _hold(gate, name, engines[name], engines.get(baseline or ""))
        for gate in gates
        for name in engines
        if gate.engine in (None, name) and not (gate.is_times_baseline and name == baseline)
    ]


def exit_code(outcomes: Iterable[Outcome | str]) -> int:
    """0 all passed · 1 one failed · 3 none failed, but one is inconclusive."""
    found = {Outcome(each) for each in outcomes}
    if Outcome.FAIL in found:
        return 1
    return 3 if Outcome.INCONCLUSIVE in found else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observed:
    value: float | None
    low: float  # −inf … inf where the interval is open; both = value where there is none
    high: float
    num_samples: int | None
    is_percentile: bool
    reason: str  # why there is no value


def _hold(gate: Gate, name: str, engine: Any, baseline: Any) -> GateOutcome:
    observed = _observe(gate, engine)
    bound: float | None = gate.bound
    if gate.is_times_baseline:
        reference = _observe(gate, baseline)
        bound = None if reference.value is None else gate.bound * reference.value
        if reference.value is None:
            observed = replace(observed, reason=f"the baseline has none: {reference.reason}")
        elif observed.is_percentile and observed.value is not None:
            observed = _against(observed, reference)
    outcome, reason = _judge(gate, observed, bound)
    return GateOutcome(
        gate=gate.text,
        engine=name,
        metric=gate.metric,
        user_class=gate.user_class,
        operator=gate.operator,
        observed=observed.value,
        bound=bound,
        interval=(_finite(observed.low), _finite(observed.high))
        if observed.is_percentile and observed.value is not None
        else None,
        num_samples=observed.num_samples,
        unit="s" if gate.is_duration else "",
        outcome=outcome,
        reason=reason,
    )


def _observe(gate: Gate, engine: Any) -> _Observed:
    """An engine that never ran lost everything and failed nothing: that is no observation."""
    if engine["counts"]["recorded"] == 0:
        return _nothing("no turn of this engine was recorded")
    return _look_up(gate, engine)


def _look_up(gate: Gate, engine: Any) -> _Observed:
    """The gate's number in an engine's metrics, with its interval where it is a percentile."""
    group, key = gate.metric.split(".")
    if group not in LATENCY_METRICS:
        values = engine[group]
        if values is None:
            return _nothing(engine["unavailable"].get(group, "it was not measured"))
        values = values if gate.user_class is None else values["by_class"][gate.user_class]
        if values[key] is None:
            return _nothing(values.get("unavailable", {}).get(key, "nothing was measured"))
        return _plain(float(values[key]), values.get("num_users") if group == "slo" else None)
    scope = engine if gate.user_class is None else engine["by_class"][gate.user_class]
    summary = scope[f"{group}_s"]
    if summary[key] is None:
        return _nothing(summary["unavailable"].get(key, "nothing was measured"))
    if key not in PERCENTILE_NAMES:
        return _plain(summary[key], summary["count"])
    low, high = summary["interval"][key]
    return _Observed(
        value=summary[key],
        low=-inf if low is None else low,
        high=inf if high is None else high,
        num_samples=summary["count"],
        is_percentile=True,
        reason="",
    )


def _nothing(reason: str) -> _Observed:
    return _Observed(
        value=None, low=-inf, high=inf, num_samples=None, is_percentile=False, reason=reason
    )


def _plain(value: float, num_samples: int | None) -> _Observed:
    return _Observed(
        value=value,
        low=value,
        high=value,
        num_samples=num_samples,
        is_percentile=False,
        reason="",
    )


def _against(observed: _Observed, reference: _Observed) -> _Observed:
    """Widen the interval by the baseline's own uncertainty, so that the bound can stay a number.

    The two intervals combine on the log scale as distances from their estimates, root of the sum
    of squares (Zou & Donner's MOVER): exact for equal-tailed normal intervals, and it needs
    nothing but the intervals.
    """
    assert observed.value is not None and reference.value is not None
    if min(observed.value, reference.value) <= 0 or reference.low <= 0:
        return replace(observed, low=-inf, high=inf)
    below = hypot(
        _log_ratio(observed.value, observed.low), _log_ratio(reference.high, reference.value)
    )
    above = hypot(
        _log_ratio(observed.high, observed.value), _log_ratio(reference.value, reference.low)
    )
    return replace(observed, low=observed.value * exp(-below), high=observed.value * exp(above))


def _log_ratio(large: float, small: float) -> float:
    return inf if small <= 0 or large == inf else log(large / small)


def _judge(gate: Gate, observed: _Observed, bound: float | None) -> tuple[Outcome, str]:
    if observed.value is None or bound is None:
        return Outcome.INCONCLUSIVE, observed.reason
    ends = [_holds(gate.operator, end, bound) for end in (observed.low, observed.high)]
    if all(ends):
        return Outcome.PASS, ""
    if not any(ends):
        return Outcome.FAIL, ""
    if inf in (observed.high, -observed.low):
        return Outcome.INCONCLUSIVE, "too few samples to bound it with confidence (interval open)"
    return Outcome.INCONCLUSIVE, "its interval reaches over the bound; more samples would settle it"


def _holds(operator: Operator, value: float, bound: float) -> bool:
    if operator == "<=":
        return value <= bound
    if operator == "<":
        return value < bound
    return value >= bound if operator == ">=" else value > bound


def _finite(value: float) -> float | None:
    return value if abs(value) != inf else None
