"""The line between a driver process and the one that started it: a socket pair, JSON lines.

Upwards go `started`, `progress`, `finished` or `failed`; downwards goes one line, the order to
stop. The end of the line means that the other side is gone.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import asdict, dataclass, field
from typing import Literal

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One message of a worker. TTFTs are those of the turns that ended since the last one."""

    kind: str  # started | progress | finished | failed
    started_at: float = 0.0  # absolute CLOCK_MONOTONIC seconds
    num_done: int = 0
    num_failed: int = 0
    num_in_flight: int = 0
    num_output_tokens: int = 0
    first_error: str = ""
    cpu_ratio: float = 0.0
    ttft_s: list[float] = field(default_factory=list)
    num_not_begun: int = 0  # once finished: turns left out, for the planned time had passed
    ran_out_at_s: float | None = None  # there was no conversation left to begin before that
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder:
    reason: str
    # Whose failure the turns in flight are then: the server's if it is gone, else nobody's.
    source: Literal["server", "stop"]


class WorkerEnd:
    """Never waits for a reader that does not read: what does not fit is sent a little later."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._unsent = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, report: Report) -> None:
        self._unsent += orjson.dumps(asdict(report)) + b"\n"
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def read_stop(self) -> StopOrder:
        """Call when readable."""
        try:
            words = self._socket.recv(4096)
        except ConnectionResetError:
            words = b""
        if not words:
            return StopOrder(reason="the process that started the driver is gone", source="stop")
        return StopOrder(**orjson.loads(words))

    def close(self) -> None:
        """What is still unsent goes out first, for at most a second."""
        self._socket.settimeout(1.0)
        with contextlib.suppress(OSError):
            self._socket.sendall(self._unsent)
        self._socket.close()


class ParentEnd:
    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.setblocking(False)
        self.is_closed = False  # by the worker: it ended, or died
        self._received = b""

    def receive(self) -> list[Report]:
        """What has arrived; never waits."""
        with contextlib.suppress(BlockingIOError):
            while data := self._receive_bytes():
                self._received += data
            self.is_closed = True
        *lines, self._received = self._received.split(b"\n")
        return [Report(**orjson.loads(line)) for line in lines]

    def _receive_bytes(self) -> bytes:
        try:
            return self.socket.recv(65_536)
        except ConnectionResetError:
            return b""

    def send_stop(self, order: StopOrder) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(orjson.dumps(asdict(order)) + b"\n")

    def close(self) -> None:
        self.socket.close()
