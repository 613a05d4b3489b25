"""The modelled device in wall time: behind the real server, at its GPU's pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from engines.core.engine import Engine
from engines.core.request import Request


class PacedClock:
    """Modelled seconds of CLOCK_MONOTONIC that real time keeps pace with. A `Clock`.

    They stand still while Python computes: the profile's overheads stand for that. `advance_to`
    sleeps until real time is there; where it is further already (a sleep too long, a slow step),
    the next sleeps are shorter until both agree again.
    """

    def __init__(
        self,
        real_time: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._real_time = real_time
        self._sleep = sleep
        self._now = real_time()
        self.max_lag_s = 0.0  # how far real time has been ahead at the end of a sleep

    def now(self) -> float:
        return self._now

    def real_time(self) -> float:
        return self._real_time()

    def advance_to(self, instant: float) -> None:
        self._now = max(self._now, instant)
        while (remaining_s := self._now - self._real_time()) > 0:
            self._sleep(remaining_s)
        self.max_lag_s = max(self.max_lag_s, -remaining_s)

    def jump_to(self, instant: float) -> None:
        """Nothing was there to be done until then."""
        self._now = max(self._now, instant)


class EmulatedEngine(Engine):
    """An `Engine` whose clock follows real time over the spans in which nothing is asked of it."""

    def __init__(self, *args: Any, clock: PacedClock, **fields: Any) -> None:
        super().__init__(*args, clock=clock.now, **fields)
        self._paced = clock

    def submit(self, request: Request) -> None:
        if not self.has_work:
            self._paced.jump_to(request.arrived_at)
        # Where Python is too slow for the profile, modelled time lags behind the request's stamp.
        request.arrived_at = min(request.arrived_at, self._paced.now())
        super().submit(request)

    def poll(self) -> None:
        self._paced.jump_to(self._paced.real_time())
        super().poll()
