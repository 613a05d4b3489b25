"""One worker's share of a plan, played in one event loop: the loop owns everything that is timed.

Open loop: conversations start at their planned instants, whatever the server does. Closed loop: so
many conversations at a time; where the plan says how long, no turn is begun from then on, and what
is left out is counted. A failed turn ends its conversation; what it would still have asked
is not asked (and counted, as planned − recorded).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from engines.api import Endpoint
from engines.terms import Slo
from suite.driver.connection import FailureSource
from suite.driver.pacing import sleep_roughly_until
from suite.driver.prompt import History
from suite.driver.routes import Routes
from suite.driver.turn_player import LEAD_NS, TurnPlayer
from suite.driver.turn_record import PlannedTurn, PlayedTurn, turn_record
from suite.records.turn_records import TurnRecord
from suite.terms import promised
from workloads.branches import Branches
from workloads.plan import Plan
from workloads.plan_parts import Conversation, PriorityTrace

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What one of several workers plays: every num_workers-th conversation, with all that branches
    off from it."""

    conversations: Sequence[tuple[int, Conversation]]  # with their places in the plan; no branches
    plan: Plan
    closed_concurrency: int | None
    priorities: PriorityTrace | None
    slos: Mapping[str, Slo]  # by user class
    worker: int = 0  # of several

    @classmethod
    def of(cls, plan: Plan, *, worker: int, num_workers: int) -> Shard:
        concurrency = plan.closed_concurrency
        if concurrency is not None:  # worker 0 gets one more while the rest is not used up
            concurrency = (concurrency + num_workers - 1 - worker) // num_workers
        begun = [(k, each) for k, each in enumerate(plan.conversations) if each.branch is None]
        return cls(
            conversations=begun[worker::num_workers],
            plan=plan,
            closed_concurrency=concurrency,
            priorities=plan.priorities,
            slos=promised(plan.user_classes),
            worker=worker,
        )


class DataPlane:
    """Made and used in one running event loop."""

    def __init__(
        self,
        shard: Shard,
        *,
        endpoint: Endpoint,
        started_at_ns: int,
        turn_timeout_s: float,
        on_turn: Callable[[TurnRecord], None],
    ) -> None:
        self._shard = shard
        self._branches = Branches(shard.plan.conversations)
        self._endpoint = endpoint
        self._started_at_ns = started_at_ns
        self._on_turn = on_turn
        self._is_stopping = False
        ends_s = shard.plan.closed_duration_s
        self._ends_at_ns = None if ends_s is None else started_at_ns + round(ends_s * 1e9)
        self.num_not_begun = 0  # turns left out, as they would have been due after that
        self.ran_out_at_s: float | None = None  # no conversation was left to begin before it
        self._ended: asyncio.Queue[PlayedTurn | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[object]] = set()
        self._routes = Routes(endpoint, asyncio.get_running_loop(), worker=shard.worker)
        self._player = TurnPlayer(
            routes=self._routes,
            secrets=endpoint.secrets,
            priorities=shard.priorities if endpoint.sends_priority else None,
            slos=shard.slos,
            started_at_ns=started_at_ns,
            timeout_s=turn_timeout_s,
        )

    @property
    def num_in_flight(self) -> int:
        return len(self._player.sent)

    async def run(self) -> None:
        """Until every conversation has ended, or was stopped."""
        try:
            async with asyncio.TaskGroup() as recording:
                recording.create_task(self._record())
                async with asyncio.TaskGroup() as group:
                    waiting = self._begin(group)
                self._ended.put_nowait(None)
                self.num_not_begun += sum(self._num_turns_of(place) for place, _ in waiting)
        finally:
            self._routes.close()

    def stop(self, reason: str, source: FailureSource = "stop") -> None:
        """Ends what is in flight (it is recorded) and drops what waits (it is not asked)."""
        self._is_stopping = True
        self._player.stop(reason, source)
        for task in self._tasks:
            if task not in self._player.sent:
                task.cancel()

    def _begin(self, group: asyncio.TaskGroup) -> Sequence[tuple[int, Conversation]]:
        """Returns those that wait for another one's end; the sequence shrinks as they begin."""
        if self._shard.closed_concurrency is None:
            self._spawn(group, self._arrive(group))
            return ()
        waiting = deque(self._shard.conversations)
        for _ in range(self._shard.closed_concurrency):
            self._spawn(group, self._one_after_another(group, waiting))
        return waiting

    async def _record(self) -> None:
        """Writes ended turns down in a task of its own: the next turn is sent before that."""
        while (played := await self._ended.get()) is not None:
            self._on_turn(turn_record(played, self._started_at_ns))

    def _spawn(
        self, group: asyncio.TaskGroup, work: Coroutine[None, None, Result]
    ) -> asyncio.Task[Result]:
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _arrive(self, group: asyncio.TaskGroup) -> None:
        for index, conversation in self._shard.conversations:
            due_ns = self._started_at_ns + round(conversation.start_at_s * 1e9)
            await sleep_roughly_until(due_ns - LEAD_NS)
            talk = self._converse(group, index, conversation, due_ns, follows_answer=False)
            self._spawn(group, talk)

    async def _one_after_another(
        self, group: asyncio.TaskGroup, waiting: deque[tuple[int, Conversation]]
    ) -> None:
        await sleep_roughly_until(self._started_at_ns - LEAD_NS)
        due_ns, follows_answer = self._started_at_ns, False
        while waiting and not self._is_over(due_ns):
            index, conversation = waiting.popleft()
            due_ns = await self._converse(
                group, index, conversation, due_ns, follows_answer=follows_answer
            )
            follows_answer = True
            if self._is_stopping:
                return
        if self._ends_at_ns is not None and not self._is_over(due_ns):
            at_s = (due_ns - self._started_at_ns) / 1e9
            self.ran_out_at_s = at_s if self.ran_out_at_s is None else min(at_s, self.ran_out_at_s)

    def _is_over(self, due_ns: int) -> bool:
        """Tells whether the planned time has passed by then."""
        return self._ends_at_ns is not None and due_ns >= self._ends_at_ns

    def _num_turns_of(self, place: int) -> int:
        """Counts the turns of a conversation and of all that branches off from it."""
        conversations = self._shard.plan.conversations
        return sum(len(conversations[each].turns) for each in self._branches.session(place))

    def _leave_out(self, conversation: Conversation, number: int) -> None:
        """Counts this turn, and all that would have come of it, as not begun."""
        self.num_not_begun += len(conversation.turns) - number
        name = conversation.conversation_id
        self.num_not_begun += self._branches.num_turns_behind(name, number)

    async def _converse(
        self,
        group: asyncio.TaskGroup,
        index: int,
        conversation: Conversation,
        due_ns: int,
        *,
        follows_answer: bool,
        history: History | None = None,
    ) -> int:
        """Returns the instant at which it has ended, and all that branched off from it."""
        history = History(self._endpoint) if history is None else history
        branches: list[asyncio.Task[int]] = []
        for number, turn in enumerate(conversation.turns):
            if turn.waits_for_branches:
                due_ns = max(due_ns, await _last_end(branches))
            if number or conversation.branch is not None:
                due_ns += round(turn.think_time_s * 1e9)  # after the previous answer's end
            if self._is_over(due_ns):
                self._leave_out(conversation, number)
                break
            planned = PlannedTurn(
                conversation=conversation,
                index=index,
                number=number,
                due_ns=due_ns,
                follows_answer=follows_answer or number > 0,
                is_left=bool(self._branches.after(conversation.conversation_id, number)),
            )
            played = await self._player.play(planned, history)
            self._ended.put_nowait(played)
            assert played.done_at_ns is not None, planned
            due_ns = played.done_at_ns
            if played.has_failed or self._is_stopping:
                break
            branches += self._branch_off(group, played, history)
        return max(due_ns, await _last_end(branches))

    def _branch_off(
        self, group: asyncio.TaskGroup, played: PlayedTurn, history: History
    ) -> Iterator[asyncio.Task[int]]:
        """Begins the conversations that this answer was waited for by."""
        planned = played.planned
        assert played.done_at_ns is not None, planned
        for index in self._branches.after(planned.conversation.conversation_id, planned.number):
            other = self._shard.plan.conversations[index]
            said = history.branched(played.answer, other.turns[0]) if other.keeps_history else None
            talk = self._converse(
                group, index, other, played.done_at_ns, follows_answer=True, history=said
            )
            yield self._spawn(group, talk)


async def _last_end(branches: Sequence[asyncio.Task[int]]) -> int:
    """Waits for all of them; a wait that is cancelled leaves them as they are. Returns 0 for
    none."""
    if not branches:
        return 0
    await asyncio.wait(branches)
    return max((each.result() for each in branches if not each.cancelled()), default=0)
