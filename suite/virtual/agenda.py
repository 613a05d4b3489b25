"""Which turn is due when, in virtual time: starts, think times, a closed loop's next."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from workloads.plan import Plan


class Due(NamedTuple):
    """One turn and the instant it is due; sorts by instant, then by place in the plan."""

    at: float  # seconds after the start
    conversation: int
    turn: int


class Agenda:
    """Gives turns as they come due.

    Open loop: conversations start at their planned instants, whatever the engine does. Closed loop:
    so many at a time, in the plan's order.
    """

    def __init__(self, plan: Plan) -> None:
        self._conversations = plan.conversations
        num_at_once = plan.closed_concurrency
        if num_at_once is None:
            self._due = [Due(each.start_at_s, k, 0) for k, each in enumerate(plan.conversations)]
            heapq.heapify(self._due)
            self._waiting = iter(range(0))
        else:
            self._due = [Due(0.0, k, 0) for k in range(min(num_at_once, len(plan.conversations)))]
            self._waiting = iter(range(len(self._due), len(plan.conversations)))

    @property
    def next_at(self) -> float | None:
        return self._due[0].at if self._due else None

    def take_due(self, now: float) -> Iterator[Due]:
        while self._due and self._due[0].at <= now:
            yield heapq.heappop(self._due)

    def answered(self, asked: Due, at: float) -> bool:
        """Notes that the turn has ended well; returns whether the conversation goes on."""
        turns = self._conversations[asked.conversation].turns
        following = asked.turn + 1
        if following == len(turns):
            self.ended(at)
            return False
        due_at = at + turns[following].think_time_s
        heapq.heappush(self._due, Due(due_at, asked.conversation, following))
        return True

    def ended(self, at: float) -> None:
        """Notes that a conversation has asked its last turn."""
        waiting = next(self._waiting, None)
        if waiting is not None:
            heapq.heappush(self._due, Due(at, waiting, 0))
