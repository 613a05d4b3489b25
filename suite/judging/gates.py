"""Gates held against what was measured: pass, fail, or not to be told yet, and what would tell.

A number with an interval passes or fails only when its whole interval lies on one side of the
bound. Numbers that have none, and those of exact (simulated) runs, are compared as they are. Where
turns were sent late, the interval is as much wider as that could have moved the number, and what
that does not turn stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import inf
from typing import Any, Literal

from suite.judging.catalogue.row import Row
from suite.judging.gate_syntax import Gate
from suite.judging.gate_values import GateValue, value_of_gate
from suite.judging.lateness import NOTE as LATE
from suite.judging.lateness import allowing, allowing_factors
from suite.judging.ratios import UNSEEN
from suite.judging.settling import missing_repeats, more_conversations, more_repeats
from suite.judging.sides import Side, are_exact
from suite.statistics.intervals import holding, hull
from suite.statistics.quantiles import Interval


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
    """An outcome with its reason, the interval that judged, and what more data could do."""

    outcome: Outcome
    interval: Interval | None  # None: the number as it is
    reason: str = ""
    lacks_repeats: bool = False
    could_settle: bool = False


def _outcome(gate: Gate, name: str, side: Side, base: Side | None) -> GateOutcome:
    """Judges one gate on one engine; `base`: what its `baseline` means, None without any."""
    metric, number, found = gate.metric, side.number(gate.metric), value_of_gate(gate, side, base)
    involved = [side] if base is None else [side, base]
    is_exact = all(are_exact(side, each) for each in involved)
    doubt = next((why for each in involved if (why := each.doubt(metric)) is not None), None)
    judged = _judge(gate, found, is_exact=is_exact, doubt=doubt)
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
        interval=_in_its_unit(judged.interval, found.scale, metric.row),
        num_samples=number.num_samples,
        unit=metric.row.unit_of_bounds,
        outcome=judged.outcome,
        reason=judged.reason,
        baseline=None if base is None else base.label,
        is_exact=is_exact,
        more_conversations=conversations,
        more_repeats=repeats,
    )


def _judge(gate: Gate, found: GateValue, *, is_exact: bool, doubt: str | None) -> _Judged:
    whole = None if is_exact else holding(hull(found.within, found.between), found.value)
    if found.value is None or found.bound is None:
        return _Judged(outcome=Outcome.INCONCLUSIVE, interval=whole, reason=found.reason)
    if doubt is not None:
        return _Judged(outcome=Outcome.INCONCLUSIVE, interval=whole, reason=doubt)
    judged = _by_repeats(gate, found, whole, is_exact=is_exact)
    if found.late is None:
        return judged
    late = replace(judged, interval=_allowing_lateness(gate, found, judged.interval))
    if _held_against_bound(gate, found, late.interval)[0] is judged.outcome:
        return late
    return replace(late, outcome=Outcome.INCONCLUSIVE, reason=LATE, could_settle=False)


def _by_repeats(gate: Gate, found: GateValue, whole: Interval | None, *, is_exact: bool) -> _Judged:
    """Judges by the whole interval, and accuses only by the cautious one: repeats may be too few to
    tell the engine from the level of its run. A PASS says only that nothing was seen."""
    outcome, reason = _held_against_bound(gate, found, whole)
    if outcome is Outcome.FAIL and not is_exact and found.cautious is not None:
        outcome = _held_against_bound(gate, found, found.cautious)[0]
        if outcome is not Outcome.FAIL:
            return _Judged(
                outcome=Outcome.INCONCLUSIVE,
                interval=found.cautious,
                reason=UNSEEN,
                lacks_repeats=True,
            )
        whole = found.cautious
    could_settle = outcome is Outcome.INCONCLUSIVE
    return _Judged(outcome=outcome, interval=whole, reason=reason, could_settle=could_settle)


def _allowing_lateness(gate: Gate, found: GateValue, interval: Interval | None) -> Interval:
    assert found.value is not None and found.late is not None
    if gate.is_times_baseline and found.bound:
        return allowing_factors(interval, found.value, found.late)
    return allowing(interval, found.value, found.late, gate.metric.row)


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
