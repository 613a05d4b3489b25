"""Locust's side of a driver process: it spawns, distributes, and shows the run live.

Started by `suite.driver.play` as `python -m locust -f <this file> --fsbench-config FILE`, with
LOCUST_SKIP_MONKEY_PATCH=1: nothing but time.sleep is gevent's, so that the data plane's thread runs
a true event loop. One `Arrivals` user per worker stands for that worker's whole share of the plan.
Locust's statistics are for the eye only; results are the records that the worker logs.
"""

# ruff: noqa: E402 – gevent's patch comes before everything that may sleep
from __future__ import annotations

from gevent import monkey

monkey.patch_time()

import collections
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from locust import User, events, runners, task
from locust.runners import MasterRunner, WorkerRunner

from engines.api import Endpoint
from suite.driver.worker import Worker
from suite.driver.worker_config import ENDPOINT_VARIABLE, WorkerConfig, endpoint_of_text
from suite.records.turn_records import TurnRecord

LEAD_ALONE_NS = 300_000_000  # from the decision to start to instant 0
LEAD_DISTRIBUTED_NS = 2_000_000_000
_PR_SET_PDEATHSIG = 1

# Beats of a second, and seconds: a worker that stands still for a while comes back and has its own
# share to play; that one is dead is for the link and the death signal to tell.
runners.HEARTBEAT_LIVENESS = runners.MASTER_HEARTBEAT_TIMEOUT = 1_000_000


class Arrivals(User):
    """Hands the worker's share of the plan to its data plane, and waits for its end."""

    @task
    def play_share(self) -> None:
        self.environment.fsbench_session.play()
        Event().wait()  # for the runner to quit, which kills this greenlet


class WorkerSession:
    """Joins the data plane's thread and the greenlets: turns come over as they end."""

    def __init__(self, config: WorkerConfig, endpoint: Endpoint, environment: Any) -> None:
        self._environment = environment
        self._is_distributed = config.role == "worker"
        self._ended_turns: collections.deque[TurnRecord] = collections.deque()
        self._has_begun = False
        self._has_ended = False
        self._all_shown = Event()
        self._start_at_ns: AsyncResult = AsyncResult()
        # The only thing of gevent's that another thread may touch.
        self._wake_up = gevent.get_hub().loop.async_()
        self._wake_up.start(self._on_wake_up)
        self._worker = Worker(config, endpoint, on_turn=self._on_turn, on_end=self._on_end)

    def play(self) -> None:
        if self._has_begun:
            return  # Locust moves a dead worker's user here; that share is lost all the same
        self._has_begun = True
        if not self._is_distributed:
            self._start_at_ns.set(time.monotonic_ns() + LEAD_ALONE_NS)
        self._worker.start(self._start_at_ns.get())
        self._all_shown.wait()
        runner = self._environment.runner
        if self._is_distributed:  # a worker that left now would have its user moved to another one
            runner.send_message("share_done", {})
        else:
            gevent.spawn(runner.quit)

    def on_start_at(self, msg: Any, **_: object) -> None:
        self._start_at_ns.set(msg.data["monotonic_ns"])

    def _on_turn(self, record: TurnRecord) -> None:
        self._ended_turns.append(record)
        self._wake_up.send()

    def _on_end(self) -> None:
        self._has_ended = True
        self._wake_up.send()

    def _on_wake_up(self) -> None:
        gevent.spawn(self._show)

    def _show(self) -> None:
        while self._ended_turns:
            _fire(self._environment, self._ended_turns.popleft())
        if self._has_ended:
            self._all_shown.set()


def _fire(environment: Any, record: TurnRecord) -> None:
    duration_s = (record.done_at or record.scheduled_at) - record.scheduled_at
    environment.events.request.fire(
        request_type="turn",
        name=record.user_class,
        response_time=duration_s * 1000,
        response_length=sum(record.tokens_per_chunk),
        exception=None if record.error is None else RuntimeError(record.error),
        context={},
    )


def _add_options(parser: Any) -> None:
    parser.add_argument("--fsbench-config", required=True, include_in_web_ui=False)


def _on_init(environment: Any, runner: Any, **_: object) -> None:
    path = Path(environment.parsed_options.fsbench_config)
    config, endpoint = WorkerConfig.read(path), endpoint_of_text(os.environ.pop(ENDPOINT_VARIABLE))
    _die_with(config.parent_pid)
    sys.setswitchinterval(0.0005)  # a greenlet must not hold the data plane up for 5 ms
    if isinstance(runner, MasterRunner):
        _direct(environment, runner, config.num_workers)
        return
    session = environment.fsbench_session = WorkerSession(config, endpoint, environment)
    if isinstance(runner, WorkerRunner):
        runner.register_message("start_at", session.on_start_at)


def _direct(environment: Any, runner: MasterRunner, num_workers: int) -> None:
    """Directs all workers: one start instant for all, and all leave together."""
    are_done: list[str] = []

    def broadcast_start(**_: object) -> None:
        start_at_ns = time.monotonic_ns() + LEAD_DISTRIBUTED_NS
        runner.send_message("start_at", {"monotonic_ns": start_at_ns})

    def on_share_done(msg: Any, **_: object) -> None:
        are_done.append(msg.node_id)
        if len(are_done) == num_workers:
            gevent.spawn(runner.quit)

    environment.events.test_start.add_listener(broadcast_start)
    runner.register_message("share_done", on_share_done)


def _die_with(parent_pid: int) -> None:
    """Ends this process with its parent on Linux; elsewhere the link's end stops the data plane."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


events.init_command_line_parser.add_listener(_add_options)  # type: ignore[no-untyped-call]
events.init.add_listener(_on_init)  # type: ignore[no-untyped-call]
