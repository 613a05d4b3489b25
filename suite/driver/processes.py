"""The driver's processes: Locust, started as children and never left behind.

Each gets a session of its own (a Ctrl-C in the terminal is ours to handle, not theirs), is killed
with all it started when we leave, and dies by itself when we die.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import suite
from engines.api import Endpoint
from engines.process import signal_group
from suite.driver.link import ParentEnd, StopOrder
from suite.driver.wording import Wording
from suite.driver.worker_config import ENDPOINT_VARIABLE, WorkerConfig, endpoint_as_text

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_KILL_AFTER_S = 3.0
_LAST_WORDS_S = 10.0  # from the end of the link to that of the process, which tells its exit code


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProcess:
    process: subprocess.Popen[bytes]
    link: ParentEnd
    log_path: Path

    def last_words(self) -> str:
        """Why it is gone: its exit code and the log's last line."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_WORDS_S)
        lines = self.log_path.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
        return f"exit code {self.process.returncode}: {last[:200]}"


class DriverProcesses:
    """One Locust process; or a master and `num_workers` workers, joined over loopback."""

    def __init__(
        self,
        *,
        directory: Path,
        plan_path: Path,
        endpoint: Endpoint,
        num_workers: int,
        turn_timeout_s: float,
        wording: Wording | None = None,
    ) -> None:
        self._directory = directory
        self._plan_path = plan_path.resolve()
        self._endpoint = endpoint
        self._num_workers = num_workers
        self._turn_timeout_s = turn_timeout_s
        self._wording = wording
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        try:
            if self._num_workers == 1:
                self._start_worker(0, "alone", [])
            else:
                self._start_master_and_workers()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._kill()

    def stop_all(self, order: StopOrder) -> None:
        for worker in self.workers:
            worker.link.send_stop(order)

    def wait(self, timeout_s: float) -> None:
        """Until all have left by themselves, or the time is up."""
        deadline = time.monotonic() + timeout_s
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))

    def _start_master_and_workers(self) -> None:
        count, port = self._num_workers, _free_port()
        address = ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
        crew = ["--expect-workers", str(count), "--users", str(count), "--spawn-rate", str(count)]
        self._start("master", 0, ["--master", *address, *crew], link=None)
        for worker in range(count):
            address = ["--master-host", "127.0.0.1", "--master-port", str(port)]
            self._start_worker(worker, "worker", ["--worker", *address])

    def _start_worker(
        self, worker: int, role: Literal["alone", "worker"], options: Sequence[str]
    ) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._start(role, worker, options, link=theirs)
        log_path = self._log_path(role, worker)
        self.workers.append(WorkerProcess(process=process, link=ParentEnd(ours), log_path=log_path))

    def _start(
        self,
        role: Literal["alone", "master", "worker"],
        worker: int,
        options: Sequence[str],
        *,
        link: socket.socket | None,
    ) -> subprocess.Popen[bytes]:
        fds = [] if link is None else [link.fileno()]
        config = WorkerConfig(
            role=role,
            plan_path=self._plan_path,
            shard_path=(self._directory / f"turns-{worker}.arrows").resolve(),
            worker=worker,
            num_workers=self._num_workers,
            turn_timeout_s=self._turn_timeout_s,
            wording=self._wording,
            link_fd=fds[0] if fds else -1,
            parent_pid=os.getpid(),
        )
        log_path = self._log_path(role, worker)
        config_path = log_path.with_suffix(".json").resolve()
        config.write(config_path)
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
        command += ["--only-summary", "--exit-code-on-error", "0"]
        command += ["--fsbench-config", str(config_path), *options]
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self._directory,
                env=_environment(self._endpoint),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _log_path(self, role: str, worker: int) -> Path:
        name = "driver-master" if role == "master" else f"driver-{worker}"
        return self._directory / f"{name}.log"

    def _kill(self) -> None:
        for process in self._processes:
            signal_group(process.pid, signal.SIGTERM)
        self.wait(_KILL_AFTER_S)
        for process in self._processes:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
        for worker in self.workers:
            worker.link.close()


def _environment(endpoint: Endpoint) -> dict[str, str]:
    """Ours, without settings meant for other uses of Locust; `suite` is importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    source = str(Path(suite.__file__).parent.parent)
    path = os.pathsep.join(part for part in (source, kept.get("PYTHONPATH")) if part)
    told = {ENDPOINT_VARIABLE: endpoint_as_text(endpoint)}
    return kept | {"LOCUST_SKIP_MONKEY_PATCH": "1", "PYTHONPATH": path} | told


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
