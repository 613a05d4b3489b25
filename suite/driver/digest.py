"""Reads an exchange's answer while it streams, so that little is left to do once it has ended.

It reads in the turn of the loop after that of the arrivals: none of them waits for it. It also ends
an exchange whose answer is there while its body stays open.
"""

from __future__ import annotations

import asyncio

from suite.driver.answer import Answer
from suite.driver.answer_reader import AnswerReader
from suite.driver.connection import Exchange

EVENTS_PER_SLICE = 64  # read at a stretch before others get the loop again: about 0.5 ms
BODY_END_S = 0.1  # from `[DONE]` to the body's end; a connection that takes longer is dropped
LAST_WORDS_S = 5.0  # from a finish reason to `[DONE]` or the body's end, each usage anew


class Digest:
    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange = exchange
        self._loop = loop
        self._reader = AnswerReader(exchange.response)
        self._is_woken = False
        self._ending: asyncio.TimerHandle | None = None
        exchange.on_data = self._wake

    @property
    def answer(self) -> Answer:
        return self._reader.answer

    async def finish(self) -> None:
        """The rest, once the exchange has ended."""
        self._exchange.on_data = None
        if self._ending is not None:
            self._ending.cancel()
        while self._reader.read_some(EVENTS_PER_SLICE):
            await asyncio.sleep(0)
        self._reader.conclude()

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._is_woken = False
        if self._exchange.done.done():
            return
        if self._reader.read_some(EVENTS_PER_SLICE):
            self._wake()
        elif self.answer.is_done:
            self._wait_for_end()

    def _wait_for_end(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        delay_s = LAST_WORDS_S if self.answer.end_read is None else BODY_END_S
        self._ending = self._loop.call_later(delay_s, self._exchange.end)
