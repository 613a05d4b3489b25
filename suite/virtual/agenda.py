"""Which turn is due when, in virtual time: starts, think times, branches, a closed loop's next."""

from __future__ import annotations

import heapq
from collections import deque
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
    so many at a time, in the plan's order, each with all that branches off from it; no turn that
    is due once the plan's duration has passed.
    """

    def __init__(self, plan: Plan) -> None:
        self._conversations = plan.conversations
        self._places = {each.conversation_id: k for k, each in enumerate(plan.conversations)}
        self._branches = Branches(plan.conversations)
        # Itself, as long as it goes on, and its branches that have not ended.
        self._num_open = [1] * len(plan.conversations)
        self._last_end = [0.0] * len(plan.conversations)  # of itself and its branches so far
        self._held: dict[int, Due] = {}  # turns that wait for branches of their conversation
        begun = [k for k, each in enumerate(plan.conversations) if each.branch is None]
        num_at_once = plan.closed_concurrency
        ends_at = plan.closed_duration_s
        self._ends_at = float("inf") if ends_at is None else ends_at
        self._num_given_up = 0  # turns of begun conversations, due after that
        self.ran_out_at: float | None = None  # when there was no conversation left to begin
        if num_at_once is None:
            self._due = [Due(plan.conversations[k].start_at_s, k, 0) for k in begun]
            heapq.heapify(self._due)
            self._waiting: deque[int] = deque()
        else:
            self._due = [Due(0.0, k, 0) for k in begun[:num_at_once]]
            self._waiting = deque(begun[num_at_once:])
            if num_at_once > len(begun):
                self.ran_out_at = 0.0

    @property
    def next_at(self) -> float | None:
        return self._due[0].at if self._due else None

    @property
    def num_not_begun(self) -> int:
        """Counts the turns that are left out because the plan's duration has passed; of use once
        all others have ended."""
        waiting = (k for root in self._waiting for k in self._branches.session(root))
        return self._num_given_up + sum(len(self._conversations[k].turns) for k in waiting)

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
            self._plan(Due(at + think_time_s, branch, 0))
        turns = self._conversations[asked.conversation].turns
        following = asked.turn + 1
        if following == len(turns):
            self.ended(asked.conversation, at)
            return False
        if turns[following].waits_for_branches:
            at = max(at, self._last_end[asked.conversation])
        due = Due(at + turns[following].think_time_s, asked.conversation, following)
        if turns[following].waits_for_branches and self._num_open[asked.conversation] > 1:
            self._held[asked.conversation] = due
            return True
        return self._plan(due)

    def ended(self, conversation: int, at: float) -> None:
        """Notes that a conversation has asked its last turn, or that a branch of it has ended."""
        self._num_open[conversation] -= 1
        at = self._last_end[conversation] = max(at, self._last_end[conversation])
        if self._num_open[conversation] == 1 and conversation in self._held:
            due = self._held.pop(conversation)
            think_time_s = self._conversations[conversation].turns[due.turn].think_time_s
            self._plan(due._replace(at=max(due.at, at + think_time_s)))
            return
        if self._num_open[conversation]:
            return
        branch = self._conversations[conversation].branch
        if branch is not None:
            self.ended(self._places[branch.conversation_id], at)
            return
        if at >= self._ends_at:
            return
        if self._waiting:
            heapq.heappush(self._due, Due(at, self._waiting.popleft(), 0))
        elif self.ran_out_at is None:
            self.ran_out_at = at

    def _plan(self, due: Due) -> bool:
        """Has the turn asked at its instant; returns whether it will be."""
        if due.at < self._ends_at:
            heapq.heappush(self._due, due)
            return True
        conversation = self._conversations[due.conversation]
        self._num_given_up += len(conversation.turns) - due.turn
        self._num_given_up += self._branches.num_turns_behind(
            conversation.conversation_id, due.turn
        )
        self.ended(due.conversation, due.at)
        return False
