"""Plays a plan on an engine that is stepped: users, histories, think times and timeouts as the
driver has them, without waiting.

A turn that comes due during a step is taken in at its end, as by a server's engine thread.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from engines.api import VirtualEngine, VirtualRequest, VirtualToken
from suite.records.turn_records import TurnRecord
from suite.terms import promised, terms_of
from suite.virtual.agenda import Agenda, Due
from workloads.plan import Plan
from workloads.plan_parts import Turn


@dataclass(slots=True, kw_only=True, eq=False)
class _Asked:
    """A turn on its way through the engine."""

    due: Due
    priority: int | None
    history: list[int]  # the prompt, and the answer as it comes
    token_at: array[float] = field(default_factory=lambda: array("d"))


class VirtualPlayer:
    """Plays the plan step by step.

    A turn that fails ends its conversation; what that would still have asked is not.
    """

    def __init__(
        self,
        plan: Plan,
        engine: VirtualEngine,
        *,
        turn_timeout_s: float,
        on_turn: Callable[[TurnRecord], None],
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._turn_timeout_s = turn_timeout_s
        self._on_turn = on_turn
        self._agenda = Agenda(plan)
        self._slos = promised(plan.user_classes)
        self._asked: OrderedDict[str, _Asked] = OrderedDict()  # the one sent first, first
        self._histories: dict[int, list[int]] = {}  # of conversations between two turns
        self._num_front: dict[int, int] = {}  # tokens of the system messages that they begin with

    @property
    def num_in_flight(self) -> int:
        return len(self._asked)

    @property
    def num_not_begun(self) -> int:
        """Counts the turns that were left out because the plan's duration had passed."""
        return self._agenda.num_not_begun

    @property
    def ran_out_at(self) -> float | None:
        """Returns when there was no conversation left to begin before that; None: there was."""
        return self._agenda.ran_out_at

    @property
    def next_at(self) -> float | None:
        """When the next step begins; None: every conversation has ended."""
        if self._engine.has_work:
            return self._engine.now()
        due_at = self._agenda.next_at
        return None if due_at is None else max(due_at, self._engine.now())

    def advance(self) -> None:
        """Plays to the end of the next step."""
        engine, next_at = self._engine, self.next_at
        assert next_at is not None, "every conversation has ended"
        if not engine.has_work:
            engine.idle_until(next_at)
        for due in self._agenda.take_due(next_at):
            self._ask(due)
        tokens = engine.step()
        now = engine.now()
        self._give_up_late(now)
        for token in tokens:
            asked = self._asked.get(token.request_id)
            if asked is not None:  # else it was given up during the step
                asked.token_at.append(now)
                if token.finish_reason is not None:
                    self._finish(asked, token, now)
                else:
                    asked.history += token.token_ids

    def stop(self, reason: str) -> None:
        """Ends playing: what is in flight is recorded with what came, what waits is not asked."""
        for asked in self._asked.values():
            error = f"cut short: {reason}"
            self._record(asked, self._engine.now(), error=error, error_source="stop")
        self._asked.clear()

    def _ask(self, due: Due) -> None:
        conversation = self._plan.conversations[due.conversation]
        turn = conversation.turns[due.turn]
        trace = self._plan.priorities
        priority = None
        if trace is not None:
            priority = trace.level_at(due.conversation, round(due.at * 1e9))
        history = self._history(due, turn)
        request_id = f"{conversation.conversation_id}/{due.turn}"
        self._asked[request_id] = _Asked(due=due, priority=priority, history=history)
        self._engine.submit(
            VirtualRequest(
                request_id=request_id,
                conversation_id=conversation.conversation_id,
                prompt_token_ids=history.copy(),
                num_output_tokens=turn.num_output_tokens,
                arrived_at=due.at,
                priority=priority or 0,
                terms=terms_of(conversation, self._slos),
            )
        )

    def _history(self, due: Due, turn: Turn) -> list[int]:
        """Returns the whole prompt: what was said, and what the turn adds."""
        history = self._histories.pop(due.conversation, [])
        new: list[int] = turn.new_prompt_token_ids.tolist()
        num_front = turn.num_front_tokens
        if turn.replaces_system:
            before = self._num_front.get(due.conversation, 0)
            history = new[:num_front] + history[before:] + new[num_front:]
            self._num_front[due.conversation] = num_front
            return history
        if not history and num_front:
            self._num_front[due.conversation] = num_front
        history += new
        return history

    def _branch_off(self, due: Due, history: list[int]) -> None:
        """Gives what was said to the conversations that go on from it."""
        for branch in self._agenda.branches_after(due):
            if self._plan.conversations[branch].keeps_history:
                self._histories[branch] = history.copy()
                self._num_front[branch] = self._num_front.get(due.conversation, 0)

    def _finish(self, asked: _Asked, last: VirtualToken, now: float) -> None:
        del self._asked[last.request_id]
        self._record(asked, now, last=last)
        goes_on = self._agenda.answered(asked.due, now)
        if goes_on or self._agenda.branches_after(asked.due):
            asked.history += last.token_ids
            self._branch_off(asked.due, asked.history)
        if goes_on:
            self._histories[asked.due.conversation] = asked.history

    def _give_up_late(self, now: float) -> None:
        """Gives up turns whose deadline has passed, as a client that leaves then.

        What the step gave after that nobody has received.
        """
        while self._asked:
            request_id, asked = next(iter(self._asked.items()))
            deadline = asked.due.at + self._turn_timeout_s
            if deadline > now:
                return
            del self._asked[request_id]
            self._engine.abort(request_id)
            error = f"the answer was not complete after {self._turn_timeout_s:g} s"
            self._record(asked, deadline, error=error, error_source="server")
            self._agenda.ended(asked.due.conversation, deadline)

    def _record(
        self,
        asked: _Asked,
        done_at: float,
        *,
        last: VirtualToken | None = None,
        error: str | None = None,
        error_source: str | None = None,
    ) -> None:
        conversation = self._plan.conversations[asked.due.conversation]
        num_received = len(asked.token_at)
        self._on_turn(
            TurnRecord(
                conversation_id=conversation.conversation_id,
                turn=asked.due.turn,
                user_id=conversation.user_id,
                user_class=conversation.user_class,
                priority=asked.priority,
                planned_output_tokens=conversation.turns[asked.due.turn].num_output_tokens,
                scheduled_at=asked.due.at,
                sent_at=asked.due.at,
                token_at=tuple(asked.token_at),
                tokens_per_chunk=(1,) * num_received,
                done_at=done_at,
                num_prompt_tokens=last.num_prompt_tokens if last else None,
                num_cached_tokens=last.num_cached_tokens if last else None,
                num_output_tokens=num_received if last else None,
                num_coalesced=0,
                time_source="virtual",
                finish_reason=str(last.finish_reason) if last else None,
                error=error,
                error_source=error_source,
                planned_at=asked.due.at,
                num_shared_chunks=0,
                num_merged_chunks=0,
                counted_by="token_ids" if num_received else None,
            )
        )
