"""The data plane's thread in a driver process: one event loop, its log, its link to the parent.

Knows neither Locust nor gevent; their side (locustfile.py) starts it and hears of every turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import uvloop

from engines.api import Endpoint
from engines.arrow_log import ArrowLog
from engines.urgency import Claimant, claim_urgency
from suite.driver.data_plane import DataPlane, Shard
from suite.driver.link import Report, WorkerEnd
from suite.driver.open_files import raise_limit
from suite.driver.opening import opened
from suite.driver.tally import Tally
from suite.driver.wording import worded
from suite.driver.words import WORDS
from suite.driver.worker_config import WorkerConfig
from suite.records.turn_records import TURN_SCHEMA, TurnRecord, turn_row
from workloads.plan import Plan

REPORT_INTERVAL_S = 0.25
FLUSH_INTERVAL_S = 0.5
ROWS_PER_BATCH = 8  # turning rows into Arrow holds the interpreter: 0.1 ms a row of 200 tokens


_log = logging.getLogger(__name__)


class Worker:
    """`on_turn` and `on_end` are called in the data plane's thread."""

    def __init__(
        self,
        config: WorkerConfig,
        endpoint: Endpoint,
        *,
        on_turn: Callable[[TurnRecord], None],
        on_end: Callable[[], None],
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._on_turn = on_turn
        self._on_end = on_end
        self._link = WorkerEnd(config.link_fd)
        self._log = ArrowLog(config.shard_path, TURN_SCHEMA, rows_per_batch=ROWS_PER_BATCH)
        self._tally = Tally()
        plan, wording = worded(Plan.read(config.plan_path), config.wording), config.wording
        words = WORDS if wording is None else wording.words
        plan = opened(plan, endpoint.opening_token_ids, words)
        self._shard = Shard.of(plan, worker=config.worker, num_workers=config.num_workers)
        gc.freeze()  # the plan stays; collections need not walk it

    def start(self, started_at_ns: int) -> None:
        """Play in a new thread, with instant 0 at `started_at_ns` (CLOCK_MONOTONIC)."""
        raise_limit()
        _log.info("the driver's urgency is %s", claim_urgency(Claimant.DRIVER))
        thread = threading.Thread(target=self._run, args=(started_at_ns,), daemon=True)
        thread.start()

    def _run(self, started_at_ns: int) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                plane = runner.run(self._play(started_at_ns))
            self._log.close()
            end = replace(
                self._report("finished"),
                num_not_begun=plane.num_not_begun,
                ran_out_at_s=plane.ran_out_at_s,
            )
        except Exception as error:  # the parent must hear of it, whatever it was
            end = Report(kind="failed", message=_one_line(error))
            with contextlib.suppress(Exception):  # it may be the log that can not be written
                self._log.close()
            raise
        finally:
            self._link.send(end)
            self._link.close()
            self._on_end()

    async def _play(self, started_at_ns: int) -> DataPlane:
        self._tally = Tally()
        plane = DataPlane(
            self._shard,
            endpoint=self._endpoint,
            started_at_ns=started_at_ns,
            turn_timeout_s=self._config.turn_timeout_s,
            on_turn=self._record,
        )
        self._link.send(Report(kind="started", started_at=started_at_ns / 1e9))
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link.fileno(), self._stop, plane)
        chores = [
            asyncio.create_task(self._report_regularly(plane)),
            asyncio.create_task(self._flush_regularly()),
        ]
        try:
            await plane.run()
        finally:
            loop.remove_reader(self._link.fileno())
            for chore in chores:
                chore.cancel()
        return plane

    def _stop(self, plane: DataPlane) -> None:
        asyncio.get_running_loop().remove_reader(self._link.fileno())
        order = self._link.read_stop()
        plane.stop(order.reason, order.source)

    def _record(self, record: TurnRecord) -> None:
        self._log.append(turn_row(record))
        self._tally.add(record)
        self._on_turn(record)

    def _report(self, kind: str, *, num_in_flight: int = 0) -> Report:
        tally = self._tally
        return Report(
            kind=kind,
            num_done=tally.num_done,
            num_failed=tally.num_failed,
            num_in_flight=num_in_flight,
            num_output_tokens=tally.num_output_tokens,
            first_error=tally.first_error,
            cpu_ratio=tally.cpu_ratio,
            ttft_s=tally.take_ttft_s(),
        )

    async def _report_regularly(self, plane: DataPlane) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            self._link.send(self._report("progress", num_in_flight=plane.num_in_flight))

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            self._log.flush()


def _one_line(error: Exception) -> str:
    """Returns the first member of a group, as which a failed task comes: it says what happened."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
