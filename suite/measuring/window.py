"""Which conversations are measured: warm-up and drain cut by the workload's rule.

The rule looks at the plan alone, so every engine is judged on the same turns and none can move its
bad ones into a cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from suite.statistics.arrays import Bools
from workloads.errors import InputError
from workloads.plan import Plan
from workloads.units import parse_duration


class CutError(InputError):
    """The rule leaves nothing. One line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The rule, and what it leaves of a plan."""

    warm_up: float | str  # a share of the conversations, or a duration; 0 = nothing
    drain: float | str
    plan: Plan  # only what is measured
    num_cut_conversations: int
    num_cut_turns: int

    def as_json(self) -> dict[str, Any]:
        return {
            "warm_up": self.warm_up or None,
            "drain": self.drain or None,
            "num_conversations": len(self.plan.conversations),
            "num_cut_conversations": self.num_cut_conversations,
            "num_cut_turns": self.num_cut_turns,
        }


def measured(plan: Plan, workload: Mapping[str, Any]) -> Measured:
    """Returns what the workload's rule leaves of the plan; `workload`: the resolved file, as the
    manifest has it. Raises CutError."""
    rule = workload.get("measure") or {}
    warm_up, drain = rule.get("warm_up", 0.0), rule.get("drain", 0.0)
    kept = _is_kept(plan, warm_up, drain)
    conversations = tuple(
        each for each, is_kept in zip(plan.conversations, kept, strict=True) if is_kept
    )
    if plan.conversations and not conversations:
        raise CutError(
            f"measure: warm_up {warm_up} and drain {drain} leave none of the "
            f"{len(plan.conversations)} conversations; cut less"
        )
    left = replace(plan, conversations=conversations) if not kept.all() else plan
    return Measured(
        warm_up=warm_up,
        drain=drain,
        plan=left,
        num_cut_conversations=len(plan.conversations) - len(conversations),
        num_cut_turns=plan.num_turns - left.num_turns,
    )


def _is_kept(plan: Plan, warm_up: float | str, drain: float | str) -> Bools:
    """Tells which conversations stay, [num_conversations], in order of their start."""
    num = len(plan.conversations)
    start = np.array([each.start_at_s for each in plan.conversations])
    kept = np.ones(num, dtype=bool)
    if not num:
        return kept
    if isinstance(warm_up, str):
        kept &= start >= start[0] + parse_duration(warm_up)
    else:
        kept[: round(warm_up * num)] = False
    if isinstance(drain, str):
        kept &= start <= start[-1] - parse_duration(drain)
    else:
        kept[num - round(drain * num) :] = False
    return kept
