"""Which turn is due when, in virtual time: starts, think times, branches, a closed loop's next."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from workloads.branches import Branches
from workloads.plan import Plan


class Due(NamedTuple):
    """One turn and the instant it is due; sorts by instant, then by place in the plan."""

    at: float  # seconds after the start
    conversation: int
    turn: int


class Agenda:
    """Gives turns as they come due.

    Open loop: conversations start at their planned instants, whatever the engine does. Closed loop:
    so many at a time, in the plan's order, each with all that branches off from it.
    """

    def __init__(self, plan: Plan) -> None:
        self._conversations = plan.conversations
        self._places = {each.conversation_id: k for k, each in enumerate(plan.conversations)}
        self._branches = Branches(plan.conversations)
        # Itself, as long as it goes on, and its branches that have not ended.
        self._num_open = [1] * len(plan.conversations)
        self._held: dict[int, Due] = {}  # turns that wait for branches of their conversation
        begun = [k for k, each in enumerate(plan.conversations) if each.branch is None]
        num_at_once = plan.closed_concurrency
        if num_at_once is None:
            self._due = [Due(plan.conversations[k].start_at_s, k, 0) for k in begun]
            heapq.heapify(self._due)
            self._waiting: Iterator[int] = iter(())
        else:
            self._due = [Due(0.0, k, 0) for k in begun[:num_at_once]]
            self._waiting = iter(begun[num_at_once:])

    @property
    def next_at(self) -> float | None:
        return self._due[0].at if self._due else None

    def take_due(self, now: float) -> Iterator[Due]:
        while self._due and self._due[0].at <= now:
            yield heapq.heappop(self._due)

    def branches_after(self, asked: Due) -> Sequence[int]:
        """Returns the conversations that go on from this turn's answer."""
        conversation_id = self._conversations[asked.conversation].conversation_id
        return self._branches.after(conversation_id, asked.turn)

    def answered(self, asked: Due, at: float) -> bool:
        """Notes that the turn has ended well; returns whether the conversation goes on."""
        for branch in self.branches_after(asked):
            self._num_open[asked.conversation] += 1
            think_time_s = self._conversations[branch].turns[0].think_time_s
            heapq.heappush(self._due, Due(at + think_time_s, branch, 0))
        turns = self._conversations[asked.conversation].turns
        following = asked.turn + 1
        if following == len(turns):
            self.ended(asked.conversation, at)
            return False
        due = Due(at + turns[following].think_time_s, asked.conversation, following)
        if turns[following].waits_for_branches and self._num_open[asked.conversation] > 1:
            self._held[asked.conversation] = due
        else:
            heapq.heappush(self._due, due)
        return True

    def ended(self, conversation: int, at: float) -> None:
        """Notes that a conversation has asked its last turn, or that a branch of it has ended."""
        self._num_open[conversation] -= 1
        if self._num_open[conversation] == 1 and conversation in self._held:
            due = self._held.pop(conversation)
            think_time_s = self._conversations[conversation].turns[due.turn].think_time_s
            heapq.heappush(self._due, due._replace(at=max(due.at, at + think_time_s)))
        if self._num_open[conversation]:
            return
        branch = self._conversations[conversation].branch
        if branch is not None:
            self.ended(self._places[branch.conversation_id], at)
            return
        waiting = next(self._waiting, None)
        if waiting is not None:
            heapq.heappush(self._due, Due(at, waiting, 0))
