"""Gates held against what was measured: pass, fail, or not to be told yet, and what would tell.

A number with an interval passes or fails only when its whole interval lies on one side of the
bound. Numbers that have none, and those of exact (simulated) runs, are compared as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from math import ceil, log, sqrt
from typing import Any, Literal

from suite.judging.between_runs import MIN_REPEATS
from suite.judging.catalogue import Metric, Number
from suite.judging.gate_syntax import Gate
from suite.judging.ratios import UNSEEN, Ratio, Side, are_exact, ratio_of
from suite.statistics.intervals import clusters_needed, hull, student_t
from suite.statistics.quantiles import PERCENTILES, Interval, interval_ranks

MAX_GROWTH = 1000.0  # a run that would have to be longer than this is not the way to settle it
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
    """One outcome per gate and engine it applies to. `references`: what `baseline` means for each
    engine; an engine without an entry is skipped (the baseline itself), None = has none."""
    return [
        _hold(gate, name, side, references.get(name))
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
class _Held:
    """What is held against the bound: the number itself, or its ratio to the baseline's."""

    value: float | None
    bound: float | None
    within: Interval | None
    between: Interval | None
    cautious: Interval | None  # wider than the two where too few repeats show how runs differ
    num_effective: float | None
    num_runs: int
    num_spreads: int  # taken from this many sets of `num_runs` repeats: 2 for two runs, unpaired
    scale: float  # brings it back into the metric's unit
    reason: str


def _hold(gate: Gate, name: str, side: Side, base: Side | None) -> GateOutcome:
    metric, number = gate.metric, side.number(gate.metric)
    held = _to_baseline(gate, side, base) if gate.is_times_baseline else _absolute(gate, side)
    involved = [side, base] if gate.is_times_baseline and base is not None else [side]
    is_exact = all(are_exact(side, each) for each in involved)
    is_late = metric.is_timed and any(each.is_driver_valid is False for each in involved)
    doubt = DRIVER_NOTE if is_late else _doubt(metric, involved)
    whole = None if is_exact else hull(held.within, held.between)
    outcome, reason = _judge(gate, held, whole, doubt=doubt)
    wants_repeats = outcome is Outcome.FAIL and not is_exact and _may_be_the_run(gate, held)
    if wants_repeats:
        outcome, reason = Outcome.INCONCLUSIVE, UNSEEN
    is_open = outcome is Outcome.INCONCLUSIVE and doubt is None and held.value is not None
    return GateOutcome(
        gate=gate.text,
        engine=name,
        metric=metric.name,
        user_class=metric.user_class,
        operator=gate.operator,
        observed=number.value,
        bound=None if held.bound is None else held.bound * held.scale,
        interval=_scaled(whole, held.scale),
        num_samples=number.num_samples,
        unit=metric.unit,
        outcome=outcome,
        reason=reason,
        baseline=base.label if gate.is_times_baseline and base is not None else None,
        is_exact=is_exact,
        more_conversations=_more_conversations(held, metric, side)
        if is_open and not wants_repeats
        else None,
        more_repeats=_more_repeats(held, wants_first=wants_repeats) if is_open else None,
    )


def _doubt(metric: Metric, involved: Sequence[Side]) -> str | None:
    """The first reason not to judge by any of them."""
    return next((why for each in involved if (why := each.doubt(metric)) is not None), None)


def _may_be_the_run(gate: Gate, held: _Held) -> bool:
    """Too few repeats to tell the engine from the level of the run it happened to have. A PASS
    stands all the same, for it says only that nothing was seen; a FAIL accuses."""
    if held.cautious is None:
        return False
    return _judge(gate, held, held.cautious, doubt=None)[0] is not Outcome.FAIL


def _absolute(gate: Gate, side: Side) -> _Held:
    number, runs = side.number(gate.metric), side.between_runs(gate.metric)
    return _Held(
        value=number.value,
        bound=gate.bound,
        within=number.interval,
        between=None if runs is None else _between_runs(gate.metric, runs),
        cautious=None,
        num_effective=number.num_effective,
        num_runs=0 if runs is None else len(runs["values"]),
        num_spreads=1,
        scale=1.0,
        reason=number.reason,
    )


def _between_runs(metric: Metric, runs: Mapping[str, Any]) -> Interval | None:
    """Of the pooled number; the worst of all repeats has none that their mean could give."""
    if runs["interval"] is None or metric.pooled_by == "extreme":
        return None
    low, high = runs["interval"]
    scale = len(runs["values"]) if metric.pooled_by == "sum" else 1
    return Interval(low=low * scale, high=high * scale)


def _to_baseline(gate: Gate, side: Side, base: Side | None) -> _Held:
    number = side.number(gate.metric)
    if base is None:
        return _nothing(
            f"the baseline has no engine {side.label!r}; name one of its own: --baseline …:ENGINE"
        )
    other = base.number(gate.metric)
    if number.value is None or other.value is None:
        return _nothing(number.reason or f"the baseline has none: {other.reason}")
    ratio = ratio_of(side, base, gate.metric)
    if other.value == 0:  # and so is any multiple of it
        return _at_zero(number, gate)
    if ratio.value is None:
        return _nothing(ratio.reason)
    return _Held(
        value=ratio.value,
        bound=gate.bound,
        within=_usable(ratio, gate.metric),
        between=ratio.between_runs,
        cautious=ratio.cautious_interval,
        num_effective=number.num_effective,
        num_runs=min(side.num_repeats, base.num_repeats),
        num_spreads=1 if ratio.ratios_of_runs else 2,
        scale=other.value,
        reason="",
    )


def _usable(ratio: Ratio, metric: Metric) -> Interval | None:
    """A percentile that nothing bounds is open, and not as good as exact."""
    if ratio.interval is None and metric.is_percentile:
        return Interval(low=None, high=None)
    return ratio.interval


def _nothing(reason: str) -> _Held:
    return _Held(
        value=None,
        bound=None,
        within=None,
        between=None,
        cautious=None,
        num_effective=None,
        num_runs=0,
        num_spreads=1,
        scale=1.0,
        reason=reason,
    )


def _at_zero(number: Number, gate: Gate) -> _Held:
    return _Held(
        value=number.value,
        bound=0.0,
        within=Interval(low=None, high=None) if gate.metric.is_percentile else None,
        between=None,
        cautious=None,
        num_effective=None,
        num_runs=0,
        num_spreads=1,
        scale=1.0,
        reason="",
    )


def _judge(
    gate: Gate, held: _Held, whole: Interval | None, *, doubt: str | None
) -> tuple[Outcome, str]:
    if held.value is None or held.bound is None:
        return Outcome.INCONCLUSIVE, held.reason
    if doubt is not None:
        return Outcome.INCONCLUSIVE, doubt
    bound = held.bound * held.scale
    if gate.metric.is_share and bound > 1 and gate.is_times_baseline:
        return Outcome.INCONCLUSIVE, f"the bound {bound:.4g} is more than a share can be"
    return _side_of(gate, held.value, held.bound, whole)


def _side_of(gate: Gate, value: float, bound: float, whole: Interval | None) -> tuple[Outcome, str]:
    """Where the interval lies; a number without one is compared as it is. Open = infinite."""
    low, high = (value, value) if whole is None else (whole.low, whole.high)
    is_low_in = gate.operator[0] == "<" if low is None else gate.holds(low, bound)
    is_high_in = gate.operator[0] == ">" if high is None else gate.holds(high, bound)
    if is_low_in == is_high_in:
        return (Outcome.PASS if is_low_in else Outcome.FAIL), ""
    if None in (low, high):
        return Outcome.INCONCLUSIVE, "too few samples to bound it with confidence (interval open)"
    return Outcome.INCONCLUSIVE, "its interval reaches over the bound"


def _scaled(interval: Interval | None, scale: float) -> Interval | None:
    if interval is None:
        return None
    low, high = (None if end is None else end * scale for end in (interval.low, interval.high))
    return Interval(low=low, high=high)


def _more_conversations(held: _Held, metric: Metric, side: Side) -> int | None:
    """How many more, if the numbers stay as they are: the interval shrinks with √n."""
    growth = _growth(held, held.within)
    if growth is None and held.within is not None and metric.is_percentile and held.num_effective:
        # First of all it must close: with samples enough, or with conversations enough.
        growth = num_bounding(metric.key) / held.num_effective
        if growth <= 1:
            growth = clusters_needed(float(PERCENTILES[metric.key])) / side.num_conversations
    if growth is None or not 1 < growth <= MAX_GROWTH:
        return None
    return ceil(side.num_conversations * (growth - 1))


def _more_repeats(held: _Held, *, wants_first: bool) -> int | None:
    if wants_first:
        return max(0, MIN_REPEATS - held.num_runs) or None
    growth = _growth(held, held.between)
    if growth is None or growth <= 1:
        return None
    # More of them narrow t as well as the standard error: from three repeats on by a factor of two.
    enough = _half_width(held.num_runs, held.num_spreads) / sqrt(growth)
    for num in range(held.num_runs + 1, ceil(held.num_runs * MAX_GROWTH)):
        if _half_width(num, held.num_spreads) <= enough:
            return num - held.num_runs
    return None


def _half_width(num_runs: int, num_spreads: int) -> float:
    """Of Student's interval, in standard deviations of a repeat."""
    return student_t((num_runs - 1) * num_spreads) / sqrt(num_runs)


def _growth(held: _Held, interval: Interval | None) -> float | None:
    """(half-width towards the bound / distance to it)², on the log scale where there is one."""
    if interval is None or held.value is None or held.bound is None or held.value == held.bound:
        return None
    end = interval.high if held.bound > held.value else interval.low
    if end is None:
        return None
    if min(end, held.value, held.bound) > 0:
        return (log(end / held.value) / log(held.bound / held.value)) ** 2
    return ((end - held.value) / (held.bound - held.value)) ** 2


@lru_cache(maxsize=16)
def num_bounding(percentile: str) -> int:
    """The fewest independent samples whose order statistics bound it on both sides: 368 for P99."""
    q, num = PERCENTILES[percentile], 1
    while None in interval_ranks(num, q):
        num *= 2
    low, high = num // 2, num
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if None in interval_ranks(middle, q) else (low, middle)
    return high
