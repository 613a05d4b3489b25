"""What became of each conversation so far: within its SLO, out of it, or not known yet.

For a run that still goes on, or was stopped as soon as enough was known. A conversation is within
its SLO when as many of its planned turns attain as its user's class asks for: known as soon as so
many have, or can no longer. With one conversation a user, as in most workloads, that is the user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.measuring.attainment import attaining_turns, needed_turns
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats, Ints
from suite.statistics.sequential import HIT, MISS, OPEN, Outcomes
from workloads.plan import Plan

NUM_FIRST = 10  # conversations whose end tells when an empty server has filled


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationOutcomes:
    """The plan's conversations in their order, [num_conversations]."""

    start_at: Floats  # as planned
    outcome: Outcomes
    ended_at: Floats  # NaN: has not ended

    @property
    def filled_at(self) -> float | None:
        """Returns when half of the first ten had ended; None where they have not. Until then the
        server had fewer to serve than it will have at this rate, and nobody is judged."""
        first = np.sort(self.ended_at[:NUM_FIRST])  # NaN last
        middle = first[(len(first) - 1) // 2]
        return None if np.isnan(middle) else float(middle)

    @property
    def judged(self) -> Outcomes:
        """Returns the outcomes of those who come after that, in their order."""
        filled_at = self.filled_at
        if filled_at is None:
            return self.outcome[:0]
        return self.outcome[self.start_at > filled_at]


def outcomes_of(turns: TurnTable, plan: Plan) -> ConversationOutcomes:
    """Returns the outcomes by the turns of one trial that were recorded until now."""
    row_of = {each.conversation_id: row for row, each in enumerate(plan.conversations)}
    rows = np.array([row_of[each] for each in turns.conversation_id], dtype=np.int64)
    num_planned = np.array([len(each.turns) for each in plan.conversations], dtype=np.int64)
    needed = needed_turns(num_planned, _targets(plan))

    def count(chosen: Bools) -> Ints:
        return np.bincount(rows[chosen], minlength=len(num_planned)).astype(np.int64)

    attains = attaining_turns(turns, plan.user_classes)
    num_attained, num_recorded = count(attains), count(np.ones(len(turns), dtype=bool))
    has_failed = count(turns.has_failed) > 0  # what it would still have asked is missed
    num_left = np.where(has_failed, 0, num_planned - num_recorded)
    outcome = np.full(len(num_planned), OPEN, dtype=np.int8)
    outcome[num_attained + num_left < needed] = MISS
    outcome[num_attained >= needed] = HIT
    last = np.full(len(num_planned), -np.inf)
    np.maximum.at(last, rows, np.nan_to_num(turns.done_at, nan=np.inf))
    return ConversationOutcomes(
        start_at=np.array([each.start_at_s for each in plan.conversations]),
        outcome=outcome,
        ended_at=np.where(num_left == 0, last, np.nan),
    )


def _targets(plan: Plan) -> Floats:
    target = {each.name: each.slo.attainment_ratio for each in plan.user_classes}
    return np.array([target[each.user_class] for each in plan.conversations], dtype=float)
