"""Single requests to one server, sent and read as the driver does it in a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from engines.api import Endpoint
from engines.templates import NOBODY
from engines.terms import UNKNOWN
from suite.driver.answer import Answer
from suite.driver.connection import ConnectionFailedError, Exchange
from suite.driver.digest import Digest
from suite.driver.http1 import Response
from suite.driver.pool import Pool
from suite.driver.prompt import History, PromptError
from suite.driver.request_writer import RequestWriter
from suite.driver.target import Target
from workloads.plan_parts import Turn

CLOSING_S = 0.05  # after an answer's end, in which a server closes that does not keep connections
Api = Literal["chat", "completions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of one request. `failure` is one line."""

    answer: Answer
    response: Response | None  # None: no connection
    sent_at_ns: int
    failure: str | None
    advice: str | None = None  # which key to change, where the failure names something of ours
    is_timeout: bool = False
    is_kept: bool = False  # the connection was still open a moment later
    died_unanswered: bool = False  # with a connection that an earlier answer had left open

    @property
    def is_good(self) -> bool:
        return self.failure is None

    @property
    def status(self) -> int:
        return 0 if self.response is None else self.response.status

    @property
    def num_tokens(self) -> int:
        """Returns the answer's tokens, as counted by the server where it counts them."""
        told = self.answer.num_output_tokens
        return sum(self.answer.tokens_per_chunk) if told is None else told


class Asker:
    """Asks one request after the other. Made and used in one running event loop."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._target = Target.from_url(endpoint.base_url, endpoint.proxy, endpoint.tls)
        self._pool = Pool(self._target, asyncio.get_running_loop())

    @classmethod
    @contextmanager
    def opened(cls, endpoint: Endpoint, *, timeout_s: float) -> Iterator[Asker]:
        asker = cls(endpoint, timeout_s=timeout_s)
        try:
            yield asker
        finally:
            asker._pool.close()

    async def ask(
        self,
        prompt: str | list[int],
        *,
        num_tokens: int,
        api: Api | None = None,
        **fields: object,
    ) -> Heard:
        """Asks once, `fields` being added to the request, or left out of it where they are None;
        whatever happens is in what is returned."""
        ids = [] if isinstance(prompt, str) else prompt
        endpoint = self._asked(api, is_ids=bool(ids), fields=fields)
        turn = Turn(
            new_prompt_token_ids=np.array(ids, dtype=np.int32),
            prompt_text=prompt if isinstance(prompt, str) else None,
            num_output_tokens=num_tokens,
            think_time_s=0.0,
        )
        history, writer = History(endpoint), RequestWriter(endpoint, self._target)
        try:
            history.ask(turn)
        except PromptError as error:
            return Heard(answer=Answer(), response=None, sent_at_ns=0, failure=str(error))
        request = writer.write(history, turn, NOBODY, UNKNOWN)
        heard = await self._exchange(request)
        if heard.failure is None or heard.response is None:
            return heard
        return replace(heard, advice=writer.advice_on(heard.failure, status=heard.status))

    def _asked(self, api: Api | None, *, is_ids: bool, fields: Mapping[str, object]) -> Endpoint:
        """Returns the endpoint with fields added to each request, or left out where they are
        None."""
        body = {**self._endpoint.extra_body, **fields}
        return replace(
            self._endpoint,
            api=api or self._endpoint.api,
            extra_body={name: value for name, value in body.items() if value is not None},
            prompt_form="token_ids" if is_ids else "text",
        )

    async def _exchange(self, request: bytes) -> Heard:
        """Sends and waits for the answer's end. A request that died with a kept connection before
        any byte of an answer is sent once more, as in a run."""
        heard = await self._exchange_once(request)
        return await self._exchange_once(request) if heard.died_unanswered else heard

    async def _exchange_once(self, request: bytes) -> Heard:
        loop = asyncio.get_running_loop()
        exchange = Exchange(loop.create_future())
        digest = Digest(exchange, loop)
        failure, is_timeout, was_used, is_kept = None, False, False, False
        try:
            async with asyncio.timeout(self._timeout_s):
                connection, was_used = await self._pool.take()
                try:
                    connection.start(request, exchange)
                    await exchange.done
                    await asyncio.sleep(CLOSING_S)
                    is_kept = exchange.response.is_complete and connection.is_idle_and_open()
                finally:
                    self._pool.give_back(connection) if is_kept else connection.close()
        except ConnectionFailedError as error:
            failure = str(error)
        except TimeoutError:
            is_timeout = True
            failure = f"no whole answer after {self._timeout_s:g} s"
        await digest.finish()
        answer = digest.answer
        if answer.error is None and failure is None:
            failure = _incomplete(answer)
        return Heard(
            answer=answer,
            response=exchange.response if exchange.response.status else None,
            sent_at_ns=exchange.sent_at_ns,
            failure=answer.error or failure,
            is_timeout=is_timeout,
            is_kept=is_kept,
            died_unanswered=was_used and failure is not None and not exchange.response.has_begun,
        )


def _incomplete(answer: Answer) -> str | None:
    if not answer.is_done:
        return "the stream ended before the answer did (no finish_reason, no [DONE])"
    return None if answer.token_reads else "the answer has no token"
