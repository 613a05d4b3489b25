"""Plays one turn: send it at its instant, and understand the answer while it arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from engines.templates import RequestFacts
from engines.terms import Slo
from suite.driver.connection import Connection, ConnectionFailedError, Exchange, FailureSource
from suite.driver.digest import Digest
from suite.driver.pacing import sleep_roughly_until, sleep_until
from suite.driver.prompt import History, PromptError
from suite.driver.routes import Routes
from suite.driver.turn_record import PlannedTurn, PlayedTurn
from suite.terms import terms_of
from workloads.plan_parts import PriorityTrace

LEAD_NS = 50_000_000  # before its instant a turn's request is written and its connection made
CONNECT_TIMEOUT_S = 10.0


class TurnPlayer:
    """Lives in one event loop. A task that plays a turn may be cancelled while it is not in
    `sent`; from then on `stop` ends the exchange, so that the turn is recorded with what came."""

    def __init__(
        self,
        *,
        routes: Routes,
        secrets: Sequence[str] = (),
        priorities: PriorityTrace | None,
        slos: Mapping[str, Slo],
        started_at_ns: int,
        timeout_s: float,
    ) -> None:
        self._routes = routes
        self._secrets = secrets
        self._priorities = priorities
        self._slos = slos
        self._started_at_ns = started_at_ns
        self._timeout_s = timeout_s
        self._stop: tuple[str, FailureSource] | None = None
        self.sent: dict[asyncio.Task[None], Exchange] = {}

    def stop(self, reason: str, source: FailureSource) -> None:
        self._stop = f"cut short: {reason}", source
        for exchange in self.sent.values():
            exchange.fail(*self._stop)

    async def play(self, planned: PlannedTurn, history: History) -> PlayedTurn:
        """Whatever the server does ends up in what is returned."""
        priority = self._priority(planned)
        played = PlayedTurn(
            planned=planned,
            priority=priority,
            scheduled_ns=planned.due_ns,
            server=self._routes.next_place(planned.conversation, planned.index),
        )
        try:
            failure = await self._ask(history, played)
            self._understand(history, played, failure)
            played.answer.hide(self._secrets)
            return played
        finally:
            self.sent.pop(_current_task(), None)

    def _understand(self, history: History, played: PlayedTurn, failure: str | None) -> None:
        answer, response = played.answer, played.response
        if failure is not None and answer.is_done:  # whole: what happened then is no part of it
            failure, played.done_at_ns = None, None
        if played.done_at_ns is None:
            assert response is not None, "an answer without a response"
            end = -1 if answer.end_read is None else answer.end_read
            played.done_at_ns = response.read_at_ns[end]
        if answer.error is not None:  # in the server's words, which say more than what followed
            played.error_source = "server"
            self._advise(played)
        elif failure is not None:
            answer.fail(failure)
        elif not answer.is_done:
            answer.fail("the stream ended before the answer did (no finish_reason, no [DONE])")
        elif not answer.token_reads:
            answer.fail("the answer has no token")
        elif played.planned.next_turn is not None or played.planned.is_left:
            try:
                history.hear(answer, played.planned.next_turn)
            except PromptError as error:
                answer.fail(str(error))

    def _advise(self, played: PlayedTurn) -> None:
        """Adds to a refusal which key of the workload file to change, where it names one."""
        answer, response = played.answer, played.response
        if response is None or answer.error is None or answer.token_reads:
            return
        found = self._routes.at(played.server).writer.advice_on(
            answer.error, status=response.status
        )
        if found is not None:
            answer.error = f"{answer.error} (fsbench: {found})"

    async def _ask(self, history: History, played: PlayedTurn) -> str | None:
        """Wait for the instant, send, wait for the end. Returns what went wrong on the way."""
        planned = played.planned
        await sleep_roughly_until(planned.due_ns - LEAD_NS)
        try:
            request = self._request(history, played)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection, was_used = await self._routes.at(played.server).pool.take()
            if planned.follows_answer:  # until it was digested, nobody could have sent
                played.scheduled_ns = max(planned.due_ns, time.monotonic_ns())
            await _hold_until(played.scheduled_ns, connection)
            async with asyncio.timeout(self._timeout_s):
                await self._send(connection, was_used, request, played)
        except (PromptError, ConnectionFailedError) as error:
            played.done_at_ns = time.monotonic_ns()
            if isinstance(error, ConnectionFailedError):
                played.error_source = error.source
            return str(error)
        except TimeoutError:
            played.done_at_ns = time.monotonic_ns()
            if played.exchange is None:
                return f"no connection within {CONNECT_TIMEOUT_S:g} s"
            return f"the answer was not complete after {self._timeout_s:g} s"
        return None

    def _request(self, history: History, played: PlayedTurn) -> bytes:
        """Raises PromptError."""
        planned = played.planned
        history.ask(planned.turn)
        if planned.next_turn is not None:  # in a later turn of the loop: once this one is sent
            asyncio.get_running_loop().call_soon(history.expect, planned.next_turn)
        facts = RequestFacts(
            user_id=planned.conversation.user_id,
            user_class=planned.conversation.user_class,
            conversation_id=planned.conversation.conversation_id,
            priority=played.priority,
        )
        terms = terms_of(planned.conversation, self._slos)
        return self._routes.at(played.server).writer.write(history, planned.turn, facts, terms)

    async def _send(
        self, connection: Connection, was_used: bool, request: bytes, played: PlayedTurn
    ) -> None:
        """Raises ConnectionFailedError. A server may close a kept connection just as it is used
        again; a request that died so, without one byte of an answer, is sent once more."""
        try:
            await self._exchange(connection, request, played)
        except ConnectionFailedError:
            response = played.response
            has_begun = response is not None and response.has_begun
            if not was_used or has_begun or self._stop is not None:
                raise
            again = await self._routes.at(played.server).pool.reopen()
            await self._exchange(again, request, played)

    async def _exchange(self, connection: Connection, request: bytes, played: PlayedTurn) -> None:
        if self._stop is not None:
            raise ConnectionFailedError(*self._stop)
        loop = asyncio.get_running_loop()
        played.exchange = exchange = Exchange(loop.create_future())
        digest = Digest(exchange, loop)
        played.answer = digest.answer
        self.sent[_current_task()] = exchange
        try:
            connection.start(request, exchange)
            await exchange.done
        finally:
            if exchange.response.is_complete:
                self._routes.at(played.server).pool.give_back(connection)
            else:
                connection.close()
            await digest.finish()

    def _priority(self, planned: PlannedTurn) -> int | None:
        trace = self._priorities
        if trace is None:
            return None
        return trace.level_at(planned.index, planned.due_ns - self._started_at_ns)


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
