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
from suite.statistics.sequential import HIT, MISS, NUM_BATCHES, OPEN, Outcomes
from workloads.plan import Plan

TREND_LEVEL = 0.01  # of the test whether waits grow
NUM_FIRST = 10  # conversations whose end tells when an empty server has filled


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationOutcomes:
    """The plan's conversations in their order, [num_conversations]."""

    start_at: Floats  # as planned
    outcome: Outcomes
    ended_at: Floats  # NaN: has not ended
    delay_s: Floats  # mean of its turns, from due to the first token; NaN: none came

    @property
    def filled_at(self) -> float | None:
        """Returns when half of the first ten had ended; None where they have not. Until then the
        server had fewer to serve than it will have at this rate, and nobody is judged."""
        first = np.sort(self.ended_at[:NUM_FIRST])  # NaN last
        middle = first[(len(first) - 1) // 2]
        return None if np.isnan(middle) else float(middle)

    @property
    def is_judged(self) -> Bools:
        """Tells who comes after that, [num_conversations]."""
        filled_at = self.filled_at
        judged: Bools = self.start_at > (np.inf if filled_at is None else filled_at)
        return judged

    @property
    def judged(self) -> Outcomes:
        """Returns the outcomes of those who are judged, in their order."""
        return self.outcome[self.is_judged]

    def is_steady(self, num: int) -> bool:
        """Tells whether the waits of the first so many who are judged did not grow from batch to
        batch, by Kendall's test. While they grow, the share of the first is not that of the long
        run: a queue of a server that is asked for a few per cent too much fills slowly."""
        delay_s = self.delay_s[self.is_judged][:num]
        known = delay_s[~np.isnan(delay_s)]
        if len(known) < NUM_BATCHES:
            return False
        from scipy import stats  # noqa: PLC0415  a second to import, and every command reads this

        means = [float(batch.mean()) for batch in np.array_split(known, NUM_BATCHES)]
        trend = stats.kendalltau(np.arange(NUM_BATCHES), means, alternative="greater")
        return bool(np.isnan(trend.pvalue) or trend.pvalue >= TREND_LEVEL)


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
    has_token = ~np.isnan(turns.first_token_at)
    waits = np.where(has_token, turns.first_token_at - turns.scheduled_at, 0.0)
    with np.errstate(invalid="ignore"):
        delay_s = np.bincount(rows, weights=waits, minlength=len(num_planned)) / count(has_token)
    last = np.full(len(num_planned), -np.inf)
    np.maximum.at(last, rows, np.nan_to_num(turns.done_at, nan=np.inf))
    return ConversationOutcomes(
        start_at=np.array([each.start_at_s for each in plan.conversations]),
        outcome=outcome,
        ended_at=np.where(num_left == 0, last, np.nan),
        delay_s=delay_s,
    )


def _targets(plan: Plan) -> Floats:
    target = {each.name: each.slo.attainment_ratio for each in plan.user_classes}
    return np.array([target[each.user_class] for each in plan.conversations], dtype=float)
