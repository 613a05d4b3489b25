"""One `vllm serve` from its start to its end: a free port, health, warm-up, nothing left behind."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.errors import EngineError, EngineInputError
from engines.process import KEEPER_MARGIN_S, ChildProcess, with_keeper

HOST = "127.0.0.1"
NUM_PORTS_TRIED = 3
GET_TIMEOUT_S = 5.0
LOOK_INTERVAL_S = 0.5  # at the log of one that is starting
WARM_UP_TIMEOUT_S = 300.0
WARM_UP_PROMPT_TOKENS = 64
WARM_UP_OUTPUT_TOKENS = 8
_PORT_IS_TAKEN = "address already in use"
_CORE_IS_DEAD = "Engine core initialization failed"
CORE_DEATH_GRACE_S = 5.0  # for the server to end by itself when its engine core did not get up
_EXCEPTION = re.compile(r"^(?:\(.*?\) ERROR .*?\] +)?(\w*(?:Error|Exception): .+)$")


class _PortTakenError(EngineError):
    pass


@dataclass(frozen=True, slots=True)
class RunningServer:
    process: ChildProcess
    port: int

    def get(self, path: str) -> str:
        """Raises OSError."""
        return _exchange(self.port, "GET", path, None, timeout_s=GET_TIMEOUT_S)

    def version(self) -> str:
        """Returns the version that the server tells; "unknown version" where it does not."""
        try:
            return str(json.loads(self.get("/version"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown version"

    def warm_up(self, *, model: str, num_requests: int) -> None:
        """Raises EngineError where it does not answer as it should."""
        body = {
            "model": model,
            "prompt": list(range(256, 256 + WARM_UP_PROMPT_TOKENS)),
            "max_tokens": WARM_UP_OUTPUT_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
        }
        for _ in range(num_requests):
            try:
                _exchange(self.port, "POST", "/v1/completions", body, timeout_s=WARM_UP_TIMEOUT_S)
            except OSError as error:
                end = f"; it {self.process.death_note()}" if not self.process.is_alive() else ""
                raise EngineError(f"the warm-up request failed ({error}){end}") from None


@contextmanager
def running_server(
    command: Callable[[int], list[str]],
    *,
    model_folder: Path,
    log: Path,
    env: dict[str, str],
    start_timeout_s: float,
    grace_s: float,
) -> Iterator[RunningServer]:
    """Starts the server by `command(port)`, waits until it is ready, and stops it on leaving.
    Raises EngineInputError, EngineError."""

    def start() -> RunningServer:
        port = free_port()
        process = ChildProcess(
            with_keeper(command(port), grace_s=grace_s),
            log=log,
            env=env,
            grace_s=grace_s + KEEPER_MARGIN_S,
            why=root_cause,
        )
        server = RunningServer(process, port)
        _wait_until_ready(server, model_folder, timeout_s=start_timeout_s)
        return server

    for attempt in range(1, NUM_PORTS_TRIED + 1):
        try:
            server = start()
            break
        except _PortTakenError:  # vLLM can not bind port 0: somebody may take the free one first
            if attempt == NUM_PORTS_TRIED:
                raise
            log.rename(log.with_name(f"{log.name}.port-taken-{attempt}"))
    try:
        yield server
    finally:
        server.process.stop()


def _wait_until_ready(server: RunningServer, model_folder: Path, *, timeout_s: float) -> None:
    """Waits until the server is ready; where it does not get there, stops it. Raises
    EngineInputError, EngineError."""
    process = server.process
    core = _CoreWatch(process)
    try:
        process.wait_until(
            lambda: _is_ready(server, model_folder) or core.check(), timeout_s=timeout_s
        )
    except (EngineError, EngineInputError) as error:
        process.stop()
        if any(_PORT_IS_TAKEN in line.lower() for line in process.last_lines()):
            raise _PortTakenError(str(error)) from None
        raise
    except BaseException:
        process.stop()
        raise


class _CoreWatch:
    """Looks out for an engine core that has died: some ways to fail leave the server waiting."""

    def __init__(self, process: ChildProcess) -> None:
        self._process = process
        self._next_look_at = 0.0
        self._dead_since: float | None = None

    def check(self) -> bool:
        """Returns False: not ready. Raises EngineError once the core has been dead for a while."""
        now = time.monotonic()
        if now < self._next_look_at:
            return False
        self._next_look_at = now + LOOK_INTERVAL_S
        if not any(_CORE_IS_DEAD in line for line in self._process.last_lines()):
            return False
        self._dead_since = self._dead_since or now
        if now - self._dead_since > CORE_DEATH_GRACE_S:
            raise EngineError(
                "hangs since its core did not start: "
                f"{self._process.last_words()} (log: {self._process.log})"
            )
        return False


def root_cause(lines: Sequence[str]) -> str:
    """Returns the first exception among vLLM's last lines, which is why it died, else the last; its
    very last words are of consequences."""
    found = (_EXCEPTION.match(line) for line in lines)
    return next((match[1] for match in found if match), lines[-1])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def _is_ready(server: RunningServer, model_folder: Path) -> bool:
    """Returns whether it is healthy, and ours: on a port that was taken, another may answer."""
    try:
        server.get("/health")
        served = json.loads(server.get("/v1/models"))["data"][0]
        return str(served["root"]) == str(model_folder)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _exchange(port: int, method: str, path: str, body: object | None, *, timeout_s: float) -> str:
    """Raises OSError for whatever is no 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"{method} {path}: {error!r}") from None
    finally:
        connection.close()
    if reply.status != http.client.OK:
        raise OSError(f"{method} {path}: {reply.status} {reply.reason}: {text[:200]}")
    return text
