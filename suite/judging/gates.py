"""Gates held against what was measured: pass, fail, or not to be told yet, and what would tell.

A number with an interval passes or fails only when its whole interval lies on one side of the
bound. Numbers that have none, and those of exact (simulated) runs, are compared as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import inf
from typing import Any, Literal

from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import Metric
from suite.judging.gate_syntax import Gate
from suite.judging.gate_values import GateValue, value_of_gate
from suite.judging.ratios import UNSEEN
from suite.judging.settling import missing_repeats, more_conversations, more_repeats
from suite.judging.sides import Side, are_exact
from suite.statistics.intervals import hull
from suite.statistics.quantiles import Interval

DRIVER_NOTE = "the driver was out of its bounds (see the warnings): the time may be its own"


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """One gate held against one engine. Seconds where `unit` is "s"."""

    gate: str
    engine: str
    metric: str
    user_class: str | None
    operator: str
    observed: float | None
    bound: float | None  # resolved: for a gate against a baseline, factor · its number
    interval: Interval | None  # of what is held against the bound, in its unit
    num_samples: int | None
    unit: Literal["s", ""]
    outcome: Outcome
    reason: str
    baseline: str | None  # what `baseline` meant
    is_exact: bool
    more_conversations: int | None = None
    more_repeats: int | None = None

    def as_json(self) -> dict[str, Any]:
        ends = None if self.interval is None else [self.interval.low, self.interval.high]
        return {**asdict(self), "interval": ends, "outcome": str(self.outcome)}


def evaluate(
    gates: Iterable[Gate], sides: Mapping[str, Side], references: Mapping[str, Side | None]
) -> list[GateOutcome]:
    """Returns one outcome per gate and engine it applies to. `references`: what `baseline` means
    for each engine; an engine without an entry is skipped (the baseline itself), None = none."""
    return [
        _outcome(gate, name, side, references.get(name) if gate.is_times_baseline else None)
        for gate in gates
        for name, side in sides.items()
        if gate.engine in (None, name) and not (gate.is_times_baseline and name not in references)
    ]


def exit_code(outcomes: Iterable[Outcome | str]) -> int:
    """0 all passed · 1 one failed · 3 none failed, but one is inconclusive."""
    found = {Outcome(each) for each in outcomes}
    if Outcome.FAIL in found:
        return 1
    return 3 if Outcome.INCONCLUSIVE in found else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """An outcome with its reason, and what more data could do."""

    outcome: Outcome
    reason: str = ""
    lacks_repeats: bool = False
    could_settle: bool = False


def _outcome(gate: Gate, name: str, side: Side, base: Side | None) -> GateOutcome:
    """Judges one gate on one engine; `base`: what its `baseline` means, None without any."""
    metric, number, found = gate.metric, side.number(gate.metric), value_of_gate(gate, side, base)
    involved = [side] if base is None else [side, base]
    is_exact = all(are_exact(side, each) for each in involved)
    whole = None if is_exact else hull(found.within, found.between)
    doubt = _doubt(metric, involved)
    judged = _judge(gate, found, whole, is_exact=is_exact, doubt=doubt)
    conversations = repeats = None
    if judged.lacks_repeats:
        repeats = missing_repeats(found)
    elif judged.could_settle:
        conversations = more_conversations(found, metric.row, side.num_conversations)
        repeats = more_repeats(found)
    return GateOutcome(
        gate=gate.text,
        engine=name,
        metric=metric.name,
        user_class=metric.user_class,
        operator=gate.operator,
        observed=number.value,
        bound=None if found.bound is None else found.bound * found.scale,
        interval=_in_its_unit(whole, found.scale, metric.row),
        num_samples=number.num_samples,
        unit=metric.row.unit_of_bounds,
        outcome=judged.outcome,
        reason=judged.reason,
        baseline=None if base is None else base.label,
        is_exact=is_exact,
        more_conversations=conversations,
        more_repeats=repeats,
    )


def _doubt(metric: Metric, involved: Sequence[Side]) -> str | None:
    """Returns the first reason not to judge by any of them; None where there is none."""
    if metric.row.is_timed and any(each.is_driver_valid is False for each in involved):
        return DRIVER_NOTE
    return next((why for each in involved if (why := each.doubt(metric)) is not None), None)


def _judge(
    gate: Gate, found: GateValue, whole: Interval | None, *, is_exact: bool, doubt: str | None
) -> _Judged:
    if found.value is None or found.bound is None:
        return _Judged(outcome=Outcome.INCONCLUSIVE, reason=found.reason)
    if doubt is not None:
        return _Judged(outcome=Outcome.INCONCLUSIVE, reason=doubt)
    outcome, reason = _held_against_bound(gate, found, whole)
    if outcome is Outcome.FAIL and not is_exact and _may_be_the_run(gate, found):
        return _Judged(outcome=Outcome.INCONCLUSIVE, reason=UNSEEN, lacks_repeats=True)
    return _Judged(outcome=outcome, reason=reason, could_settle=outcome is Outcome.INCONCLUSIVE)


def _may_be_the_run(gate: Gate, found: GateValue) -> bool:
    """Tells whether repeats are too few to tell the engine from the level of its run. A PASS stands
    all the same, for it says only that nothing was seen; a FAIL accuses."""
    if found.cautious is None:
        return False
    return _held_against_bound(gate, found, found.cautious)[0] is not Outcome.FAIL


def _held_against_bound(
    gate: Gate, found: GateValue, whole: Interval | None
) -> tuple[Outcome, str]:
    """Returns (outcome, reason) by where the interval lies; a number without one is compared as it
    is."""
    assert found.value is not None and found.bound is not None
    bound = found.bound * found.scale
    if gate.metric.row.is_never_above_1 and bound > 1 and gate.is_times_baseline:
        return Outcome.INCONCLUSIVE, f"the bound {bound:.4g} is more than a share can be"
    low, high = (found.value, found.value) if whole is None else (whole.low, whole.high)
    # An open end is infinite.
    is_low_in = gate.operator[0] == "<" if low is None else gate.holds(low, found.bound)
    is_high_in = gate.operator[0] == ">" if high is None else gate.holds(high, found.bound)
    if is_low_in == is_high_in:
        return (Outcome.PASS if is_low_in else Outcome.FAIL), ""
    if None in (low, high):
        return Outcome.INCONCLUSIVE, "too few samples to bound it with confidence (interval open)"
    return Outcome.INCONCLUSIVE, "its interval reaches over the bound"


def _in_its_unit(interval: Interval | None, scale: float, row: Row) -> Interval | None:
    """Returns the interval brought back from multiples of a baseline; a share's never passes 1,
    however wide its ratio to the baseline may be."""
    if interval is None:
        return None
    largest = 1.0 if row.is_never_above_1 else inf
    low, high = (
        None if end is None else min(end * scale, largest) for end in (interval.low, interval.high)
    )
    return Interval(low=low, high=high)
