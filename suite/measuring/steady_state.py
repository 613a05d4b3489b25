"""Was the run in a steady state, or did the backlog grow for as long as it lasted?

An overloaded open loop has no percentiles of its own: every wait grows with the length of the run.
So what was served is held against what was due, over the time in which conversations arrive. A
user who waits for an answer does not ask the next question, so overload holds back its own demand:
of what was sent, next to nothing is ever missing. Due is therefore what would have been answered by
then, had every answer come as quickly as the engine's quickest ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from suite.measuring.growing_waits import drift_of, is_falling_behind
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats
from workloads.plan import Plan

NUM_SLICES = 20
QUICK_RATIO = 0.05  # of the turns are quicker than what is taken as an answer without waiting
MIN_TURNS = 30  # fewer say nothing about a trend
MIN_TURNS_SERVED = 50  # … about how many of those due were answered, or where a run settled
MIN_UNSERVED_RATIO = 0.1  # of what was due in the second half
MIN_UNSERVED_ROOTS = 3.0  # times √due, so that chance alone does not reach it
TREND_LEVEL = 0.01
BATCH = 5  # MSER-5: batch means of five
WHY_NOT = {
    "is_steady": "neither that it settled nor that it drifted is shown",
    "is_overloaded": "conversations began within the time of a few answers: too brief to tell",
    "steady_from_s": "not before the second half",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How one repeat kept up with what was asked of it."""

    slice_s: float
    backlog: Floats  # [NUM_SLICES] mean turns outstanding
    served_ratio: float  # turns answered / turns due, in the second half
    is_overloaded: bool | None  # None: too brief to tell
    steady_from_s: float | None
    drift: tuple[float, float] | None  # median first-token delay of either half, where they drift

    @property
    def is_steady(self) -> bool | None:
        """None where neither steadiness nor a drift is shown."""
        if self.is_overloaded or self.drift is not None:
            return False
        return None if self.steady_from_s is None or self.is_overloaded is None else True


def steady_state(turns: TurnTable, repeats: Sequence[int], plan: Plan) -> dict[str, Any]:
    """Returns what metrics.json says of the load, over all turns of the trial, cut or not."""
    loads, why = [], "the engine was never started"
    for repeat in repeats:
        load, why_not = load_of(turns.where(turns.repeat == repeat), plan)
        why = why_not or why
        if load is not None:
            loads.append(load)
    if not loads:
        keys = "is_steady is_overloaded steady_from_s drift served_ratio slice_s backlog"
        return {**dict.fromkeys(keys.split()), "unavailable": dict.fromkeys(keys.split(), why)}
    known = [each.steady_from_s for each in loads if each.steady_from_s is not None]
    found = {
        "is_steady": _of_all([each.is_steady for each in loads], worst=False),
        "is_overloaded": _of_all([each.is_overloaded for each in loads], worst=True),
        "steady_from_s": max(known) if len(known) == len(loads) else None,
        "drift": next((list(each.drift) for each in loads if each.drift is not None), None),
        "served_ratio": min(each.served_ratio for each in loads),
        "slice_s": float(np.mean([each.slice_s for each in loads])),
        "backlog": np.mean([each.backlog for each in loads], axis=0).tolist(),
    }
    absent = {key: reason for key, reason in WHY_NOT.items() if found[key] is None}
    return {**found, "unavailable": absent}


def _of_all(found: Sequence[bool | None], *, worst: bool) -> bool | None:
    """Returns the worst of the repeats; None where that is not known of one of them."""
    if worst in found:
        return worst
    return None if None in found else not worst


def load_warnings(load: Mapping[str, Any]) -> list[str]:
    """Returns what a reader has to know of the load, from what `steady_state` returned."""
    backlog = load["backlog"]
    if backlog is None:
        return []
    if load["is_overloaded"]:
        return [
            f"overloaded: the backlog grew from {backlog[len(backlog) // 2]:.0f} turns half-way to "
            f"{backlog[-1]:.0f} at the last arrival, and in that time {load['served_ratio']:.0%} "
            "of what would have been due without waiting was answered, so latencies grow with the "
            "length of the run; ask for less"
        ]
    if load["is_overloaded"] is None:
        return [f"whether the engine kept up is not known: {WHY_NOT['is_overloaded']}; ask longer"]
    return _drift_warning(load["drift"])


def _drift_warning(drift: Sequence[float] | None) -> list[str]:
    if drift is None:
        return []
    before, after = drift
    return [
        f"not steady: the median first-token delay {'rose' if after > before else 'fell'} from "
        f"{before:.3g} s in the first half of the turns to {after:.3g} s in the second and had not "
        "settled, so percentiles depend on how long the run was; run longer, or cut the beginning "
        "(measure: {warm_up: …})"
    ]


def load_of(turns: TurnTable, plan: Plan) -> tuple[Load | None, str]:
    """Returns the load of one repeat; None with the reason where it can not be told."""
    if plan.closed_concurrency is not None:
        return None, "a closed loop has no load of its own to keep up with"
    if len(turns) < MIN_TURNS:
        return None, f"needs at least {MIN_TURNS} turns, has {len(turns)}"
    begin = float(turns.scheduled_at.min())
    end = float(turns.scheduled_at[turns.turn == 0].max(initial=begin))
    if end <= begin:
        return None, "all conversations start at once"
    middle = (begin + end) / 2
    done = np.where(np.isnan(turns.done_at), np.inf, turns.done_at)
    edges = np.linspace(begin, end, NUM_SLICES + 1)
    backlog = np.diff(_outstanding_s(turns.scheduled_at, done, edges)) / np.diff(edges)
    due_at = _due_at(turns)
    num_due = int(((due_at > middle) & (due_at <= end)).sum())
    num_served = int(((done > middle) & (done <= end)).sum())
    behind = _num_until(due_at, edges) - _num_until(done, edges)
    has_grown = len(turns) >= MIN_TURNS_SERVED and _has_grown(behind, num_due, num_served)
    steady_from_s = _steady_from_s(turns, begin)
    return (
        Load(
            slice_s=float(edges[1] - edges[0]),
            backlog=backlog,
            served_ratio=num_served / num_due if num_due else 1.0,
            is_overloaded=has_grown or is_falling_behind(turns, begin, end),
            steady_from_s=steady_from_s,
            drift=_drift(turns, begin + (steady_from_s or 0.0)),
        ),
        "",
    )


def _outstanding_s(start: Floats, end: Floats, at: Floats) -> Floats:
    """∫ turns outstanding dt up to each instant."""
    total: Floats = np.array(
        [np.clip(np.minimum(end, instant) - start, 0, None).sum() for instant in at]
    )
    return total


def _due_at(turns: TurnTable) -> Floats:
    """Returns when each turn would have been answered without any waiting: all pauses as they were,
    every answer at the pace of the quickest ones."""
    e2e_s = turns.done_at - turns.scheduled_at
    with np.errstate(divide="ignore", invalid="ignore"):
        pace = np.where(turns.num_output_tokens > 0, e2e_s / turns.num_output_tokens, np.nan)
    quick_s = 0.0 if np.isnan(pace).all() else float(np.nanquantile(pace, QUICK_RATIO))
    alone_s = quick_s * turns.planned_output_tokens
    # A turn was late by as much as the conversation's turns before it took longer than that.
    order = np.lexsort((turns.turn, turns.conversation))
    excess = np.where(np.isnan(e2e_s), 0.0, e2e_s - alone_s)[order]
    before = np.cumsum(excess) - excess
    is_first = np.diff(turns.conversation[order], prepend=-1) != 0
    late_s = np.empty(len(turns))
    late_s[order] = before - before[is_first][np.cumsum(is_first) - 1]
    due_at: Floats = turns.scheduled_at - late_s + alone_s
    return due_at


def _num_until(instants: Floats, edges: Floats) -> Floats:
    """Counts the instants up to each edge."""
    return np.searchsorted(np.sort(instants), edges, side="right").astype(np.float64)


def _has_grown(behind: Floats, num_due: int, num_served: int) -> bool:
    """Tells whether the backlog grew; `behind`: turns due less turns answered, at each edge."""
    num_unserved = num_due - num_served
    if num_unserved <= max(MIN_UNSERVED_RATIO * num_due, MIN_UNSERVED_ROOTS * sqrt(num_due)):
        return False
    from scipy import stats  # noqa: PLC0415  a second to import, and only overload needs it

    trend = stats.kendalltau(np.arange(len(behind)), behind, alternative="greater")
    return bool(trend.pvalue < TREND_LEVEL)


def _steady_from_s(turns: TurnTable, begin: float) -> float | None:
    """MSER-5 (White 1997): cut as many batch means from the front as makes the standard error of
    the rest the smallest; None when that lies in the second half."""
    scheduled_at, delay = _delays(turns)
    num = len(delay) // BATCH
    if num < MIN_TURNS_SERVED // BATCH:
        return None
    means = delay[: num * BATCH].reshape(num, BATCH).mean(axis=1)
    # Of the rest after each cut: squared deviations / length², from sums backwards.
    length = np.arange(num, 0, -1)
    total, square = np.cumsum(means[::-1])[::-1], np.cumsum(means[::-1] ** 2)[::-1]
    error = np.maximum(0.0, square - total**2 / length) / length**2
    best = int(error[: num - BATCH].argmin())
    return None if best > num / 2 else float(scheduled_at[best * BATCH] - begin)


def _drift(turns: TurnTable, begin: float) -> tuple[float, float] | None:
    """Returns the drift of the delays of turns due from `begin` on."""
    scheduled_at, delay = _delays(turns)
    return drift_of(delay[scheduled_at >= begin])


def _delays(turns: TurnTable) -> tuple[Floats, Floats]:
    """Returns when the turns that got a token were due, in order, and how long it took to come."""
    has_any = ~np.isnan(turns.first_token_at)
    order = np.argsort(turns.scheduled_at[has_any], kind="stable")
    delay = (turns.first_token_at - turns.scheduled_at)[has_any][order]
    return turns.scheduled_at[has_any][order], delay
