"""Plays a plan in virtual time: the second of a plan's two players, beside the driver.

No process, no socket, no waiting. Records go to disk as turns end; however it ends, what was played
becomes turns.parquet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.api import VirtualEngine
from engines.arrow_log import ArrowLog
from suite.records.play_result import PlayResult, StoppedBy, signal_note
from suite.records.progress import Progress
from suite.records.turn_records import TURN_SCHEMA, finish_shard
from suite.virtual.interrupts import Interrupts
from suite.virtual.journal import Journal
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
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> PlayResult:
    """Returns when every turn has ended, a bound of the engine's settings was reached, or Ctrl-C
    was pressed; in each case with all that was played in `directory`/turns.parquet."""
    num_planned = script.plan.num_turns
    shard = script.directory / "turns-0.arrows"
    with ArrowLog(shard, TURN_SCHEMA, rows_per_batch=ROWS_PER_BATCH) as log:
        journal = Journal(log, script.plan)
        player = VirtualPlayer(
            script.plan, engine, turn_timeout_s=script.turn_timeout_s, on_turn=journal.record
        )

        def show() -> None:
            num_in_flight, elapsed_s = player.num_in_flight, engine.now()
            on_progress(
                journal.progress(
                    num_planned=num_planned,
                    num_in_flight=num_in_flight,
                    elapsed_s=elapsed_s,
                    planned_s=script.plan.closed_duration_s,
                )
            )

        with Interrupts() as interrupts:
            stop = _play(player, engine, interrupts, show)
            if stop is not None:
                player.stop(stop.note)
    finish_shard(shard, script.directory / "turns.parquet", started_at_monotonic_s=0.0)
    has_ended = stop is None
    return PlayResult(
        started_at_monotonic_s=0.0,
        duration_s=journal.ended_at,
        counts=journal.counts(
            is_stopped=not has_ended, num_not_begun=player.num_not_begun if has_ended else 0
        ),
        stopped_by=stop.by if stop else None,
        note=stop.note if stop else None,
        ran_out_at_s=player.ran_out_at if script.plan.closed_duration_s is not None else None,
    )


@dataclass(frozen=True, slots=True)
class _Stop:
    by: StoppedBy
    note: str


def _play(
    player: VirtualPlayer,
    engine: VirtualEngine,
    interrupts: Interrupts,
    show: Callable[[], None],
) -> _Stop | None:
    began_at = shown_at = time.monotonic()
    longest_virtual_s = engine.max_virtual_time_s or float("inf")
    longest_wall_s = engine.max_wall_time_s or float("inf")
    while (next_at := player.next_at) is not None:
        wall_at = time.monotonic()
        if interrupts.number is not None:
            return _Stop("signal", signal_note(interrupts.number))
        if next_at >= longest_virtual_s:
            return _Stop("caller", f"max_virtual_time_s {longest_virtual_s:g} was reached")
        if wall_at - began_at >= longest_wall_s:
            return _Stop("caller", f"max_wall_time_s {longest_wall_s:g} was reached")
        if wall_at - shown_at >= PROGRESS_INTERVAL_S:
            shown_at = wall_at
            show()
        player.advance()
    return None
