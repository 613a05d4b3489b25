"""What stood between an engine and its SLOs: how turns missed, and where their time went.

Of the turns that missed: some waited too long for the first token, others had gaps between tokens,
others failed. Where the time went is told by the engine's own log, where it keeps one.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from suite.measuring.attainment import attaining_turns
from suite.records.turn_table import TurnTable
from workloads.plan import Plan

Json = dict[str, Any]
QUEUEING = ("queued",)
PREEMPTION = ("preempted", "swap_wait", "held", "stalled")


class Limits(BaseModel):
    """Shares are 0–1; None: the engine does not tell it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_missed: int  # turns
    late_ratio: float | None  # of those: the first token came too late
    failed_ratio: float | None
    queueing_ratio: float | None  # of the requests' time in the engine: not admitted yet
    preemption_ratio: float | None  # … sent away, waiting for a copy, or held up by one
    num_preemptions: float | None
    is_driver_valid: bool | None  # False: the driver itself was late
    is_pace_kept: bool | None  # False: a paced engine was slower than the GPU it stands for

    @property
    def fault(self) -> str | None:
        """Returns what missed where that was not the engine, in a few words; None where it was."""
        if self.is_driver_valid is False:
            return "the driver was late itself"
        if self.is_pace_kept is False:
            return "this machine did not keep the GPU's pace"
        return None


def limits_of(turns: TurnTable, plan: Plan, numbers: Json) -> Limits:
    """Returns the limits of a trial; `numbers`: the engine's part of the run's metrics.json."""
    missed = ~attaining_turns(turns, plan.user_classes)
    num_missed = int(missed.sum())
    bound = {each.name: each.slo.ttft_s for each in plan.user_classes}
    is_late = turns.first_token_at - turns.scheduled_at > [bound[c] for c in turns.user_class]
    has_failed = turns.has_failed
    switching = numbers["context_switch"] or {}
    shares = switching.get("latency_shares")
    pace = numbers.get("pace")
    return Limits(
        num_missed=num_missed,
        late_ratio=float((is_late & ~has_failed).sum() / num_missed) if num_missed else None,
        failed_ratio=float(has_failed.sum() / num_missed) if num_missed else None,
        queueing_ratio=_sum(shares, QUEUEING),
        preemption_ratio=_sum(shares, PREEMPTION),
        num_preemptions=switching.get("num_preemptions"),
        is_driver_valid=numbers["is_driver_valid"],
        is_pace_kept=None if pace is None else pace["is_kept"],
    )


def _sum(shares: Json | None, states: tuple[str, ...]) -> float | None:
    return None if shares is None else sum(shares[f"{state}_ratio"] for state in states)
