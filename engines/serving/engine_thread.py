"""The engine's own thread: requests come in through a queue, outputs go out once a step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from engines.core.engine import Engine
from engines.core.request import Request, RequestOutput
from engines.core.stats import EngineStats

POLL_S = 0.001


@dataclass(frozen=True, slots=True)
class _Submit:
    request: Request


@dataclass(frozen=True, slots=True)
class _Abort:
    request_id: str


@dataclass(frozen=True, slots=True)
class _End:
    request_id: str


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


class EngineThread:
    """`submit`, `abort`, `end`, `stop` and `stats` may be called from any thread.

    `on_outputs` and `on_failure` are called in the engine's thread; after a failure it has ended.
    `set_up` runs there before anything else: libraries keep what they set up by thread.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_outputs: Callable[[list[RequestOutput]], None],
        on_failure: Callable[[BaseException], None],
        set_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._on_outputs = on_outputs
        self._on_failure = on_failure
        self._set_up = set_up
        self._is_set_up = threading.Event()
        self._set_up_failure: BaseException | None = None
        self._inbox: SimpleQueue[_Submit | _Abort | _End | _Stop] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Returns when the thread is set up; raises what went wrong there."""
        self._thread.start()
        self._is_set_up.wait()
        if self._set_up_failure is not None:
            raise self._set_up_failure

    def submit(self, request: Request) -> None:
        self._inbox.put(_Submit(request))

    def abort(self, request_id: str) -> None:
        self._inbox.put(_Abort(request_id))

    def end(self, request_id: str) -> None:
        """Ends a request well, as where a stop string was found."""
        self._inbox.put(_End(request_id))

    def stop(self) -> None:
        """End the thread after the step under way; live requests get no more outputs."""
        self._inbox.put(_Stop())
        self._thread.join()

    def stats(self) -> EngineStats:
        return self._engine.stats

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._set_up()
        except BaseException as failure:
            self._set_up_failure = failure
            return
        finally:
            self._is_set_up.set()
        try:
            while self._take_messages():
                outputs = self._engine.step()
                if outputs:
                    self._on_outputs(outputs)
        except BaseException as error:
            self._on_failure(error)

    def _take_messages(self) -> bool:
        """Works off the inbox, waiting only while there is nothing to step for; returns False to
        stop."""
        engine = self._engine
        while True:
            try:
                # Without requests, transfers under way are looked after every millisecond.
                message = self._inbox.get(
                    block=not engine.has_work, timeout=POLL_S if engine.has_flights else None
                )
            except Empty:
                if engine.has_work:
                    return True
                engine.poll()
                continue
            match message:
                case _Submit(request):
                    self._engine.submit(request)
                case _Abort(request_id):
                    self._engine.abort(request_id)
                case _End(request_id):
                    self._engine.end(request_id)
                case _Stop():
                    return False
