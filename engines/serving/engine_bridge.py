"""Between the engine's thread and the event loop: requests in, each step's outputs out.

A step wakes the loop once, however many requests it served; every request then gets its part in
one synchronous pass, so that a token waits for no other task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from engines.core.request import Request, RequestOutput
from engines.core.stats import EngineStats
from engines.serving.errors import ApiError
from engines.serving.generation import Generation

logger = logging.getLogger(__name__)


class EngineHandle(Protocol):
    """A running engine: what `EngineThread` offers."""

    def start(self) -> None:
        """Returns when it can step."""
        ...

    def submit(self, request: Request) -> None: ...
    def abort(self, request_id: str) -> None: ...
    def end(self, request_id: str) -> None: ...
    def stop(self) -> None: ...
    def stats(self) -> EngineStats: ...


class EngineFactory(Protocol):
    """Makes the engine with its two ways to speak; both are called in the engine's thread."""

    def __call__(
        self,
        *,
        on_outputs: Callable[[list[RequestOutput]], None],
        on_failure: Callable[[BaseException], None],
    ) -> EngineHandle: ...


class EngineBridge:
    def __init__(self, make_engine: EngineFactory, *, max_live: int | None = None) -> None:
        """Makes a bridge without an engine. `max_live`: how many requests may run or wait at a
        time; None = any number."""
        self._engine = make_engine(on_outputs=self._post_outputs, on_failure=self._post_failure)
        self._generations: dict[str, Generation] = {}
        self._reserved: set[str] = set()  # places of requests that are still to be submitted
        self._max_live = max_live
        self._closed_because: str | None = "the engine is starting; retry"
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: BaseException | None = None
        self.has_failed = asyncio.Event()

    async def start(self) -> None:
        """Starts the engine and returns when it can step. Called in the loop that will serve."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._engine.start)
        self._closed_because = None

    def refuse_new(self, reason: str) -> None:
        """End every generation with an error; answer new ones likewise from now on."""
        self._closed_because = reason
        for request_id, generation in list(self._generations.items()):
            generation.fail(ApiError(reason, status=503))
            self.release(request_id)

    async def stop(self) -> None:
        """Returns when the engine's thread has ended."""
        await asyncio.to_thread(self._engine.stop)

    def check_open(self) -> None:
        """Raises the ApiError that a request would get now."""
        if self._closed_because is not None:
            raise ApiError(self._closed_because, status=503)

    def reserve(self, request_id: str) -> None:
        """Take a place until the request is submitted or released. Raises ApiError: there is none,
        or nobody is served."""
        self.check_open()
        num_live = len(self._generations) + len(self._reserved)
        if self._max_live is not None and num_live >= self._max_live:
            raise ApiError(
                f"{num_live} requests run or wait, as many as this server takes "
                "(max_num_seqs + max_waiting); send it again later",
                status=503,
            )
        self._reserved.add(request_id)

    def stats(self) -> EngineStats:
        return self._engine.stats()

    def submit(self, generation: Generation) -> None:
        """Gives the generation its outputs from here on, until it is released."""
        self.check_open()
        request = generation.request
        self._reserved.discard(request.request_id)
        self._generations[request.request_id] = generation
        self._engine.submit(request)

    def release(self, request_id: str) -> None:
        """Gives no more outputs for this request. One that a stop string has ended leaves its KV
        for the next turn; one that is unfinished is aborted, and its blocks are freed; one that was
        not submitted gives its place back."""
        self._reserved.discard(request_id)
        generation = self._generations.pop(request_id, None)
        if generation is None or self.failure is not None:
            return
        if generation.finish_reason is None:
            self._engine.abort(request_id)
        else:
            self._engine.end(request_id)

    def _post_outputs(self, outputs: Sequence[RequestOutput]) -> None:
        self._post(self._deliver, outputs)

    def _post_failure(self, failure: BaseException) -> None:
        self._post(self._fail, failure)

    def _post(self, callback: Callable[..., None], *args: object) -> None:
        assert self._loop is not None, "the engine spoke before it was started"
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    def _deliver(self, outputs: Sequence[RequestOutput]) -> None:
        for output in outputs:
            generation = self._generations.get(output.request_id)
            if generation is None:
                continue  # released meanwhile: disconnected, or ended by a stop string
            if output.finish_reason is not None:
                del self._generations[output.request_id]
            try:
                generation.receive(output)
            except Exception:
                logger.exception("%s: its tokens could not be delivered", output.request_id)
                generation.fail(ApiError("the server failed on this request", status=500))
            if generation.done.done():
                self.release(output.request_id)

    def _fail(self, failure: BaseException) -> None:
        logger.error("the engine died", exc_info=failure)
        self.failure = failure
        self._closed_because = "the engine died; restart the server, its log says why"
        for generation in self._generations.values():
            generation.fail(ApiError(self._closed_because, status=500))
        self._generations.clear()
        self.has_failed.set()
