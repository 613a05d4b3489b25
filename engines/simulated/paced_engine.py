"""An engine in wall time at a modelled GPU's pace, whether its device computes or only sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from engines.core.engine import Engine
from engines.core.request import Request
from engines.core.step_log import StepRecord

# An engine's bookkeeping and a sleep's overshoot come to less, even on a slow machine. More is a
# machine that stood still: to hurry after it would squeeze the steps behind it, which were on time.
MAX_CARRIED_S = 0.002


class PacedClock:
    """Modelled seconds of CLOCK_MONOTONIC that real time keeps pace with. A `Clock`.

    They stand still while Python or a real model computes: the profile's times stand for that.
    `advance_to` sleeps until real time is there. Where it is further already, up to MAX_CARRIED_S
    are made up for by shorter sleeps; what is more has really passed, and the clock says so.
    """

    def __init__(
        self,
        real_time: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._real_time = real_time
        self._sleep = sleep
        self._now = real_time()
        self._missed_s = 0.0
        self.max_lag_s = 0.0  # how far real time has been ahead at the end of a sleep

    def now(self) -> float:
        return self._now

    def real_time(self) -> float:
        return self._real_time()

    def advance_to(self, instant: float) -> None:
        self._now = max(self._now, instant)
        while (remaining_s := self._now - self._real_time()) > 0:
            self._sleep(remaining_s)
        self.note_missed(-remaining_s)
        self._now = max(self._now, self._real_time() - MAX_CARRIED_S)

    def jump_to(self, instant: float) -> None:
        """Moves on to an instant until which nothing was there to be done."""
        self._now = max(self._now, instant)

    def note_missed(self, seconds: float) -> None:
        """Notes that something is so much later than its modelled instant."""
        self._missed_s = max(self._missed_s, seconds)
        self.max_lag_s = max(self.max_lag_s, seconds)

    def take_missed_s(self) -> float:
        """Returns by how much the pace was missed at most since this was asked last."""
        missed_s, self._missed_s = self._missed_s, 0.0
        return missed_s


class PacedEngine(Engine):
    """An `Engine` whose clock follows real time over the spans in which nothing is asked of it."""

    def __init__(
        self,
        *args: Any,
        clock: PacedClock,
        on_step: Callable[[StepRecord], None] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(*args, clock=clock.now, on_step=self._on_paced_step, **fields)
        self._paced = clock
        self._on_step = on_step

    def submit(self, request: Request) -> None:
        if not self.has_work:
            self._paced.jump_to(request.arrived_at)
        # Where Python is too slow for the profile, modelled time lags behind the request's stamp.
        request.arrived_at = min(request.arrived_at, self._paced.now())
        super().submit(request)

    def poll(self) -> None:
        self._paced.jump_to(self._paced.real_time())
        super().poll()

    def _on_paced_step(self, record: StepRecord) -> None:
        record.pace_missed_s = self._paced.take_missed_s()
        if self._on_step is not None:
            self._on_step(record)
