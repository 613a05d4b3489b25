"""Play a plan against a running engine, in wall time: the driver's one entry.

Never imports Locust or gevent; those live in child processes, which are watched here, stopped on
demand, and whose shards become turns.parquet however they end.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from engines.api import Endpoint
from suite.driver.early_stop import EarlyStop, StopRule
from suite.driver.link import StopOrder
from suite.driver.live_view import LiveView
from suite.driver.processes import DriverProcesses, WorkerProcess
from suite.driver.quality import judge
from suite.driver.request_writer import asks_ignore_eos
from suite.driver.wording import Wording
from suite.records.answerers import answerers
from suite.records.play_result import (
    IsEnough,
    PlayResult,
    StoppedBy,
    interrupt_note,
    never_enough,
)
from suite.records.progress import Progress
from suite.records.run_directory import Counts, DriverQuality
from suite.records.turn_counts import TurnCounter
from suite.records.turn_records import read_shards, shard_paths, write_table
from workloads.plan import Plan

POLL_S = 0.2
START_TIMEOUT_S = 120.0  # Locust takes a second or two to import; a loaded machine much longer
FLUSH_TIMEOUT_S = 10.0  # after stop: what is in flight is recorded
LEAVE_TIMEOUT_S = 10.0  # after the last record: Locust's own goodbye


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    plan_path: Path
    endpoint: Endpoint
    directory: Path  # gets turns.parquet and the driver's logs
    turn_timeout_s: float  # from a turn's sending to its last byte
    num_workers: int = 1
    stop_rule: StopRule | None = None
    wording: Wording | None = None  # of prompts in place of token ids


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveResult(PlayResult):
    quality: DriverQuality


@dataclass(frozen=True, slots=True)
class _Stop:
    by: StoppedBy
    note: str

    @property
    def order(self) -> StopOrder:
        """What is in flight when the engine dies is the engine's failure."""
        is_engines = self.by == "caller"
        return StopOrder(reason=self.note, source="server" if is_engines else "stop")


def play(
    drive: Drive,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], str | None] = lambda: None,
    is_enough: IsEnough = never_enough,
) -> DriveResult:
    """Returns when every turn has ended, `should_stop` gave a reason, too many turns failed
    (`stop_rule`), `is_enough` said so, Ctrl-C was pressed, or the driver died; in each case with
    all that was measured in `directory`/turns.parquet."""
    plan = Plan.read(drive.plan_path)
    num_workers = _num_useful_workers(plan, drive.num_workers)
    drive.directory.mkdir(parents=True, exist_ok=True)
    for left_over in shard_paths(drive.directory):
        left_over.unlink()
    view = LiveView(
        num_planned=plan.num_turns, num_workers=num_workers, planned_s=plan.closed_duration_s
    )
    processes = DriverProcesses(
        directory=drive.directory,
        plan_path=drive.plan_path,
        endpoint=drive.endpoint,
        num_workers=num_workers,
        turn_timeout_s=drive.turn_timeout_s,
        wording=drive.wording,
    )
    stop: _Stop | None = None
    try:
        with processes:
            early = EarlyStop(drive.stop_rule)

            def why_stop() -> _Stop | None:
                if (reason := should_stop()) is not None:
                    return _Stop("caller", reason)
                if (reason := early.reason(view.progress(), view.first_error)) is not None:
                    return _Stop("errors", reason)
                if (enough := is_enough(drive.directory)) is not None:
                    return _Stop("enough" if enough.is_complete else "time", enough.note)
                return None

            stop = _watch_until_end(processes, view, on_progress, why_stop)
    except KeyboardInterrupt as interrupt:
        stop = _Stop("signal", interrupt_note(interrupt))
    return _result(drive, plan, view, stop)


def _num_useful_workers(plan: Plan, wanted: int) -> int:
    """No more than there are conversations to hold at a time."""
    most = sum(each.branch is None for each in plan.conversations)
    if plan.closed_concurrency is not None:
        most = min(most, plan.closed_concurrency)
    return max(1, min(wanted, most))


def _watch_until_end(
    processes: DriverProcesses,
    view: LiveView,
    on_progress: Callable[[Progress], None] | None,
    why_stop: Callable[[], _Stop | None],
) -> _Stop | None:
    try:
        stop = _watch(processes, view, on_progress, why_stop)
    except KeyboardInterrupt as interrupt:
        stop = _Stop("signal", interrupt_note(interrupt))
    with contextlib.suppress(KeyboardInterrupt):  # pressed again: wait no longer
        if stop is not None:
            _drain(processes, view, stop.order)
        processes.wait(LEAVE_TIMEOUT_S)
    return stop


def _watch(
    processes: DriverProcesses,
    view: LiveView,
    on_progress: Callable[[Progress], None] | None,
    why_stop: Callable[[], _Stop | None],
) -> _Stop | None:
    """Until every worker has finished, or there is a reason to stop."""
    start_deadline = time.monotonic() + START_TIMEOUT_S
    finished: set[int] = set()
    while len(finished) < len(processes.workers):
        _wait_for_reports(processes)
        for number, worker in enumerate(processes.workers):
            failure = _take_reports(number, worker, view, finished)
            if failure is not None:
                return _Stop("driver", failure)
        if on_progress is not None:
            on_progress(view.progress())
        if (stop := why_stop()) is not None:
            return stop
        if view.started_at is None and time.monotonic() > start_deadline:
            log = processes.workers[0].log_path
            return _Stop("driver", f"the driver did not start in {START_TIMEOUT_S:g} s; see {log}")
    return None


def _wait_for_reports(processes: DriverProcesses) -> None:
    links = [worker.link.socket for worker in processes.workers if not worker.link.is_closed]
    select.select(links, [], [], POLL_S)


def _take_reports(
    number: int, worker: WorkerProcess, view: LiveView, finished: set[int]
) -> str | None:
    """Returns one line if the worker failed."""
    for report in worker.link.receive():
        view.take(number, report)
        if report.kind == "failed":
            return f"driver worker {number} failed: {report.message}; see {worker.log_path}"
        if report.kind == "finished":
            finished.add(number)
    if worker.link.is_closed and number not in finished:
        return f"driver worker {number} died ({worker.last_words()}); see {worker.log_path}"
    return None


def _drain(processes: DriverProcesses, view: LiveView, order: StopOrder) -> None:
    """Let the workers record what is in flight."""
    processes.stop_all(order)
    deadline = time.monotonic() + FLUSH_TIMEOUT_S
    while time.monotonic() < deadline:
        for number, worker in enumerate(processes.workers):
            _take_reports(number, worker, view, set())
        if all(worker.link.is_closed for worker in processes.workers):
            return
        _wait_for_reports(processes)


def _counts(plan: Plan, turns: pa.Table, stop: _Stop | None, num_not_begun: int) -> Counts:
    """Returns the counts. The plan of a closed loop that ends by time holds more than will be
    asked: broken off for whatever reason, what is missing was not due."""
    counter = TurnCounter(plan)
    names = ("conversation_id", "turn", "error", "error_source")
    for conversation_id, turn, error, source in zip(
        *(turns[name].to_pylist() for name in names), strict=True
    ):
        counter.add(conversation_id, turn, error=error, error_source=source)
    if stop is None:
        return counter.counts(is_stopped=False, num_not_begun=num_not_begun)
    was_meant = stop.by in ("signal", "errors", "enough", "time")
    return counter.counts(is_stopped=was_meant or plan.closed_duration_s is not None)


def _result(drive: Drive, plan: Plan, view: LiveView, stop: _Stop | None) -> DriveResult:
    turns = read_shards(drive.directory)
    path = drive.directory / "turns.parquet"
    write_table(path, turns, started_at_monotonic_s=view.started_at)
    for shard in shard_paths(drive.directory):
        shard.unlink()
    quality = judge(
        turns,
        num_workers=view.num_workers,
        max_cpu_ratio=view.max_cpu_ratio,
        tightest_ttft_slo_s=min((user.slo.ttft_s for user in plan.user_classes), default=None),
        asks_ignore_eos=asks_ignore_eos(drive.endpoint),
    )
    return DriveResult(
        started_at_monotonic_s=view.started_at,
        duration_s=pc.max(turns["done_at"]).as_py() or 0.0,
        counts=_counts(plan, turns, stop, view.num_not_begun),
        quality=quality,
        stopped_by=None if stop is None else stop.by,
        note=None if stop is None else stop.note,
        answered_by=answerers(turns),
        ran_out_at_s=view.ran_out_at_s,
    )
