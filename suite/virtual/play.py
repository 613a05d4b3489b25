"""Play a plan in virtual time: the second of a plan's two players, beside the driver.

No process, no socket, no waiting. Records go to disk as turns end; however it ends, what was played
becomes turns.parquet.
"""

from __future__ import annotations

import signal
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import numpy as np

from engines.api import VirtualEngine
from engines.arrow_log import ArrowLog
from suite.driver.live import Progress
from suite.play_result import PlayResult, StoppedBy, signal_note
from suite.records import TURN_SCHEMA, TurnRecord, finish_shard, turn_row
from suite.run_directory import Counts
from suite.virtual.player import VirtualPlayer
from workloads.plan import Plan

PROGRESS_INTERVAL_S = 0.25
ROWS_PER_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    plan: Plan
    directory: Path  # gets turns.parquet
    turn_timeout_s: float  # from a turn's sending to its last token


def play_virtually(
    script: Script,
    engine: VirtualEngine,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> PlayResult:
    """Returns when every turn has ended, a bound of the engine's settings was reached, or Ctrl-C
    was pressed; in each case with all that was played in `directory`/turns.parquet."""
    shard = script.directory / "turns-0.arrows"
    with ArrowLog(shard, TURN_SCHEMA, rows_per_batch=ROWS_PER_BATCH) as log:
        journal = _Journal(log)
        player = VirtualPlayer(
            script.plan, engine, turn_timeout_s=script.turn_timeout_s, on_turn=journal.record
        )
        with _Interrupts() as interrupts:
            stop = _play(player, engine, journal, interrupts, on_progress, script.plan.num_turns)
            if stop is not None:
                player.stop(stop.note)
    finish_shard(shard, script.directory / "turns.parquet", started_at_monotonic_s=0.0)
    return PlayResult(
        started_at_monotonic_s=0.0,
        duration_s=journal.ended_at,
        counts=journal.counts(script.plan.num_turns),
        stopped_by=stop.by if stop else None,
        note=stop.note if stop else None,
    )


@dataclass(frozen=True, slots=True)
class _Stop:
    by: StoppedBy
    note: str


class _Journal:
    """Every turn's record on its way to disk, and what the progress tells of them."""

    def __init__(self, log: ArrowLog) -> None:
        self._log = log
        self._num_done = 0
        self._num_failed = 0
        self._num_output_tokens = 0
        self._ttft_s = array("d")
        self.ended_at = 0.0  # of the last turn so far

    def record(self, record: TurnRecord) -> None:
        self._log.append(turn_row(record))
        self._num_done += 1
        self._num_failed += record.error is not None
        self._num_output_tokens += len(record.token_at)
        if record.token_at:
            self._ttft_s.append(record.token_at[0] - record.scheduled_at)
        assert record.done_at is not None, record
        self.ended_at = max(self.ended_at, record.done_at)

    def counts(self, num_planned: int) -> Counts:
        return Counts(
            planned=num_planned,
            recorded=self._num_done,
            failed=self._num_failed,
            lost=num_planned - self._num_done,
        )

    def progress(self, *, num_planned: int, num_in_flight: int, elapsed_s: float) -> Progress:
        """Seconds are virtual."""
        return Progress(
            num_planned=num_planned,
            num_done=self._num_done,
            num_failed=self._num_failed,
            num_in_flight=num_in_flight,
            num_output_tokens=self._num_output_tokens,
            elapsed_s=elapsed_s,
            ttft_p99_s=float(np.quantile(self._ttft_s, 0.99)) if self._ttft_s else None,
            lag_p99_s=None,
        )


def _play(
    player: VirtualPlayer,
    engine: VirtualEngine,
    journal: _Journal,
    interrupts: _Interrupts,
    on_progress: Callable[[Progress], None] | None,
    num_planned: int,
) -> _Stop | None:
    began_at = shown_at = time.monotonic()
    longest_virtual_s = engine.max_virtual_time_s or float("inf")
    longest_wall_s = engine.max_wall_time_s or float("inf")
    while (next_at := player.next_at) is not None:
        if interrupts.number is not None:
            return _Stop("signal", signal_note(interrupts.number))
        if next_at >= longest_virtual_s:
            return _Stop("caller", f"max_virtual_time_s {longest_virtual_s:g} was reached")
        wall_at = time.monotonic()
        if wall_at - began_at >= longest_wall_s:
            return _Stop("caller", f"max_wall_time_s {longest_wall_s:g} was reached")
        if on_progress is not None and wall_at - shown_at >= PROGRESS_INTERVAL_S:
            shown_at = wall_at
            on_progress(
                journal.progress(
                    num_planned=num_planned,
                    num_in_flight=player.num_in_flight,
                    elapsed_s=engine.now(),
                )
            )
        player.advance()
    return None


class _Interrupts:
    """Ctrl-C and SIGTERM as a flag, so that no step and no record is cut in half. The second time
    they act as they did before."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the signal that came
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self._before[number])
