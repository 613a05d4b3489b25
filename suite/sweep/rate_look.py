"""Looks at one rate's run, while it goes on and afterwards alike: what its records tell of the
share of users within SLO."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suite.measuring.outcomes import outcomes_of
from suite.records.play_result import Enough
from suite.records.turn_table import TurnTable, read_turns
from suite.statistics.sequential import HIT, OPEN, Ends, ShareLooks
from suite.sweep.budget import Budget
from suite.sweep.crossing import Answer
from workloads.plan import Plan

PAUSE_S = 1.0  # between two looks, or …
PAUSE_RATIO = 20.0  # … so many times what the last one took, but not …
MAX_PAUSE_S = 10.0  # … for ever: the first one imports what it needs
ANSWERS = {True: Answer.HOLDS, False: Answer.FAILS, None: Answer.UNSURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLook:
    """What is known of a rate: of `num_users` judged so far, and of those still to come nothing."""

    answer: Answer
    num_users: int
    num_within_slo: int
    num_turns: int  # recorded
    num_succeeded: int
    interval: Ends

    def counts(self) -> str:
        return f"{self.num_within_slo} of {self.num_users} users within SLO"

    def words(self) -> str:
        """Returns the look in a line, with what is known of those to come."""
        low, high = self.interval
        known = {
            Answer.HOLDS: f"at least {low:.1%}",
            Answer.FAILS: f"at most {high:.1%}",
            Answer.UNSURE: f"{low:.1%} to {high:.1%}",
        }
        return f"{self.counts()}, in the long run {known[self.answer]}"


def look_at(turns: TurnTable, plan: Plan, looks: ShareLooks) -> RateLook:
    """Returns what the turns of one trial tell that were recorded until now."""
    outcomes = outcomes_of(turns, plan)
    judged = outcomes.judged[: looks.most]
    known = looks.look(judged, outcomes.is_steady)
    return RateLook(
        answer=ANSWERS[known.is_above],
        num_users=int((judged != OPEN).sum()),
        num_within_slo=int((judged == HIT).sum()),
        num_turns=len(turns),
        num_succeeded=int((~turns.has_failed).sum()),
        interval=known.interval,
    )


class RateWatch:
    """Ends a rate's run as soon as its interval lies on one side of the target, or when there is no
    more time. An `IsEnough`."""

    def __init__(
        self,
        plan: Plan,
        looks: ShareLooks,
        budget: Budget,
        on_look: Callable[[RateLook], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._looks = looks
        self._budget = budget
        self._on_look = on_look
        self._clock = clock
        self._next_at = clock() + PAUSE_S

    def __call__(self, directory: Path) -> Enough | None:
        if self._clock() >= self._next_at:
            began_at = self._clock()
            look = look_at(read_turns([(1, directory)]), self._plan, self._looks)
            self._on_look(look)
            ended_at = self._clock()
            pause_s = max(PAUSE_S, PAUSE_RATIO * (ended_at - began_at))
            self._next_at = ended_at + min(pause_s, MAX_PAUSE_S)
            if look.answer is not Answer.UNSURE:
                return Enough(note=f"enough is known: {look.words()}", is_complete=True)
        if self._budget.is_used_up:
            return Enough(note="the budget was used up", is_complete=False)
        return None
