"""Plays one turn: send it at its instant, collect the answer, make both a record."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from suite.driver.answer import Answer, read_answer
from suite.driver.connection import Connection, ConnectionFailedError, Exchange
from suite.driver.http1 import Response
from suite.driver.pacing import sleep_roughly_until, sleep_until
from suite.driver.pool import Pool
from suite.driver.prompt import History, PromptError, RequestWriter
from suite.records.turn_records import TurnRecord
from workloads.plan_parts import Conversation, PriorityTrace, Turn

LEAD_NS = 50_000_000  # before its instant a turn's request is written and its connection made
CONNECT_TIMEOUT_S = 10.0
EVENTS_PER_SLICE = 64  # parsed at a stretch before others get the loop again: about 0.2 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTurn:
    conversation: Conversation
    index: int  # the conversation's place in the plan
    number: int
    due_ns: int

    @property
    def turn(self) -> Turn:
        return self.conversation.turns[self.number]

    @property
    def is_last(self) -> bool:
        return self.number + 1 == len(self.conversation.turns)


@dataclass(slots=True)
class _Attempt:
    """What came of a turn, filled in as it happens."""

    priority: int | None
    exchange: Exchange | None = None
    done_at_ns: int | None = None
    answer: Answer = field(default_factory=Answer)

    @property
    def response(self) -> Response | None:
        return None if self.exchange is None else self.exchange.response


@dataclass(frozen=True, slots=True)
class Played:
    record: TurnRecord
    done_at_ns: int


class TurnPlayer:
    """Lives in one event loop. A task that plays a turn may be cancelled while it is not in
    `sent`; from then on `stop` ends the exchange, so that the turn is recorded with what came."""

    def __init__(
        self,
        *,
        pool: Pool,
        writer: RequestWriter,
        priorities: PriorityTrace | None,
        started_at_ns: int,
        timeout_s: float,
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._priorities = priorities
        self._started_at_ns = started_at_ns
        self._timeout_s = timeout_s
        self._stop_reason: str | None = None
        self.sent: dict[asyncio.Task[None], Exchange] = {}

    def stop(self, reason: str) -> None:
        self._stop_reason = reason
        for exchange in self.sent.values():
            exchange.fail(f"cut short: {reason}")

    async def play(self, planned: PlannedTurn, history: History) -> Played:
        """Whatever the server does ends up in the record."""
        attempt = _Attempt(self._priority(planned))
        try:
            failure = await self._ask(planned, history, attempt)
            await self._understand(planned, history, attempt, failure)
            return self._played(planned, attempt)
        finally:
            self.sent.pop(_current_task(), None)

    async def _understand(
        self, planned: PlannedTurn, history: History, attempt: _Attempt, failure: str | None
    ) -> None:
        answer = attempt.answer
        if attempt.response is not None:
            await _read_in_slices(attempt.response, answer)
        if failure is not None:
            answer.fail(failure)
        elif not answer.is_done:
            answer.fail("the stream ended before the answer did (no finish_reason, no [DONE])")
        elif not answer.token_reads:
            answer.fail("the answer has no token")
        elif not planned.is_last:
            try:
                history.hear(answer)
            except PromptError as error:
                answer.fail(str(error))

    async def _ask(self, planned: PlannedTurn, history: History, attempt: _Attempt) -> str | None:
        """Wait for the instant, send, wait for the end. Returns what went wrong on the way."""
        await sleep_roughly_until(planned.due_ns - LEAD_NS)
        try:
            history.ask(planned.turn)
            request = self._writer.write(
                history,
                planned.turn,
                conversation_id=planned.conversation.conversation_id,
                priority=attempt.priority,
            )
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection, was_used = await self._pool.take()
            await _hold_until(planned.due_ns, connection)
            async with asyncio.timeout(self._timeout_s):
                await self._send(connection, was_used, request, attempt)
        except (PromptError, ConnectionFailedError) as error:
            attempt.done_at_ns = time.monotonic_ns()
            return str(error)
        except TimeoutError:
            attempt.done_at_ns = time.monotonic_ns()
            if attempt.exchange is None:
                return f"no connection within {CONNECT_TIMEOUT_S:g} s"
            return f"the answer was not complete after {self._timeout_s:g} s"
        return None

    async def _send(
        self, connection: Connection, was_used: bool, request: bytes, attempt: _Attempt
    ) -> None:
        """Raises ConnectionFailedError. A server may close a kept connection just as it is used
        again; a request that died so, without one byte of an answer, is sent once more."""
        try:
            await self._exchange(connection, request, attempt)
        except ConnectionFailedError:
            response = attempt.response
            has_begun = response is not None and response.has_begun
            if not was_used or has_begun or self._stop_reason is not None:
                raise
            await self._exchange(await self._pool.open(), request, attempt)

    async def _exchange(self, connection: Connection, request: bytes, attempt: _Attempt) -> None:
        if self._stop_reason is not None:
            raise ConnectionFailedError(f"cut short: {self._stop_reason}")
        attempt.exchange = exchange = Exchange(asyncio.get_running_loop().create_future())
        self.sent[_current_task()] = exchange
        try:
            connection.start(request, exchange)
            await exchange.done
            attempt.done_at_ns = exchange.response.read_at_ns[-1]
        finally:
            if exchange.response.is_complete:
                self._pool.give_back(connection)
            else:
                connection.close()

    def _priority(self, planned: PlannedTurn) -> int | None:
        trace = self._priorities
        if trace is None:
            return None
        return trace.level_at(planned.index, planned.due_ns - self._started_at_ns)

    def _at_s(self, at_ns: int) -> float:
        return (at_ns - self._started_at_ns) / 1e9

    def _played(self, planned: PlannedTurn, attempt: _Attempt) -> Played:
        answer, exchange, conversation = attempt.answer, attempt.exchange, planned.conversation
        read_at_ns = exchange.response.read_at_ns if exchange else ()
        is_kernel = exchange is not None and exchange.response.is_kernel_stamped
        done_at_ns = attempt.done_at_ns
        assert done_at_ns is not None, planned
        record = TurnRecord(
            conversation_id=conversation.conversation_id,
            turn=planned.number,
            user_id=conversation.user_id,
            user_class=conversation.user_class,
            priority=attempt.priority,
            planned_output_tokens=planned.turn.num_output_tokens,
            scheduled_at=self._at_s(planned.due_ns),
            sent_at=self._at_s(exchange.sent_at_ns) if exchange else None,
            token_at=tuple(self._at_s(read_at_ns[read]) for read in answer.token_reads),
            tokens_per_chunk=tuple(answer.tokens_per_chunk),
            done_at=self._at_s(done_at_ns),
            num_prompt_tokens=answer.num_prompt_tokens,
            num_cached_tokens=answer.num_cached_tokens,
            num_output_tokens=answer.num_output_tokens,
            num_coalesced=answer.num_coalesced,
            time_source="kernel" if is_kernel else "user",
            finish_reason=answer.finish_reason,
            error=answer.error,
        )
        return Played(record, done_at_ns)


async def _read_in_slices(response: Response, answer: Answer) -> None:
    for number, _ in enumerate(read_answer(response, answer), start=1):
        if number % EVENTS_PER_SLICE == 0:
            await asyncio.sleep(0)


async def _hold_until(at_ns: int, connection: Connection) -> None:
    try:
        await sleep_until(at_ns)
    except asyncio.CancelledError:
        connection.close()
        raise


def _current_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task
