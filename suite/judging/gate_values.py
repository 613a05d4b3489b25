"""What a gate holds against its bound: the metric itself, or its ratio to the baseline's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.judging.catalogue.row import Row
from suite.judging.gate_syntax import Gate
from suite.judging.look_up import Number
from suite.judging.ratios import Ratio, ratio_late, ratio_of
from suite.judging.sides import Side
from suite.statistics.quantiles import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class GateValue:
    """A value and a bound in the same unit; None with the reason."""

    value: float | None = None
    bound: float | None = None
    within: Interval | None = None  # within the runs
    between: Interval | None = None  # between repeats
    cautious: Interval | None = (
        None  # wider than the two where too few repeats show how runs differ
    )
    num_effective: float | None = None
    num_runs: int = 0
    num_spreads: int = (
        1  # taken from this many sets of `num_runs` repeats: 2 for two runs, unpaired
    )
    late: Interval | None = None  # where lateness could have put the value; of a ratio, factors
    scale: float = 1.0  # brings it back into the metric's unit
    reason: str = ""


def value_of_gate(gate: Gate, side: Side, base: Side | None) -> GateValue:
    """Returns what the gate compares; `base`: what `baseline` means, None where it has none."""
    if not gate.is_times_baseline:
        return _own_value(gate, side)
    if base is None:
        return GateValue(
            reason=f"the baseline has no engine {side.label!r}; name one of its own: "
            "--baseline …:ENGINE"
        )
    return _ratio_value(gate, side, base)


def _own_value(gate: Gate, side: Side) -> GateValue:
    number, runs = side.number(gate.metric), side.between_runs(gate.metric)
    return GateValue(
        value=number.value,
        bound=gate.bound,
        within=number.interval,
        between=None if runs is None else _between_runs(gate.metric.row, runs),
        num_effective=number.num_effective,
        num_runs=0 if runs is None else len(runs["values"]),
        late=side.lateness(gate.metric),
        reason=number.reason,
    )


def _between_runs(row: Row, runs: Mapping[str, Any]) -> Interval | None:
    """Returns the interval of the repeats' mean, scaled to their pooled number; None for the worst
    of all repeats, to which their mean says nothing."""
    if runs["interval"] is None or row.pooled_by == "extreme":
        return None
    low, high = runs["interval"]
    scale = len(runs["values"]) if row.pooled_by == "sum" else 1
    return Interval(low=low * scale, high=high * scale)


def _ratio_value(gate: Gate, side: Side, base: Side) -> GateValue:
    number, other = side.number(gate.metric), base.number(gate.metric)
    if number.value is None or other.value is None:
        return GateValue(reason=number.reason or f"the baseline has none: {other.reason}")
    ratio = ratio_of(side, base, gate.metric)
    if other.value == 0:
        return _against_zero(number, gate, ratio_late(side, base, gate.metric))
    if ratio.value is None:
        return GateValue(reason=ratio.reason)
    return GateValue(
        value=ratio.value,
        bound=gate.bound,
        within=_interval_or_open(ratio, gate.metric.row),
        between=ratio.between_runs,
        cautious=ratio.cautious_interval,
        num_effective=number.num_effective,
        num_runs=min(side.num_repeats, base.num_repeats),
        num_spreads=1 if ratio.ratios_of_runs else 2,
        late=ratio.late,
        scale=other.value,
    )


def _interval_or_open(ratio: Ratio, row: Row) -> Interval | None:
    """A percentile that nothing bounds is open, and not as good as exact."""
    if ratio.interval is None and row.is_percentile:
        return Interval(low=None, high=None)
    return ratio.interval


def _against_zero(number: Number, gate: Gate, late: Interval | None) -> GateValue:
    """Any multiple of a baseline of 0 is 0, so the number itself is held against 0."""
    is_open = gate.metric.row.is_percentile
    return GateValue(
        value=number.value,
        bound=0.0,
        within=Interval(low=None, high=None) if is_open else None,
        late=late,
    )
