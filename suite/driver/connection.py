"""Connections that know when each byte arrived.

`KernelConnection` asks the kernel (SO_TIMESTAMPNS): the stamp is taken as the segment arrives and
handed over with the read, so a busy event loop, the GIL or a preempted process do not show in it.
`StreamConnection` stamps when asyncio hands the data over; it serves TLS, where the kernel sees
only ciphertext, and systems without such stamps. Its answers are marked as stamped by the user.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Literal, Protocol, cast

from suite.driver.clock import KernelClock
from suite.driver.http1 import ProtocolError, Response

SO_TIMESTAMPNS = 35  # asm-generic; the socket module does not name it
_NUM_SEGMENTS = struct.Struct("=I")  # tcpi_data_segs_in of the kernel's struct tcp_info …
_NUM_SEGMENTS_OFFSET = 152
_TCP_INFO_BYTES = _NUM_SEGMENTS_OFFSET + _NUM_SEGMENTS.size  # … which older kernels do not have
_TCP_CLOSE = 7  # tcpi_state, its first byte, once the other side has reset the connection
_TIMESPEC = struct.Struct("@qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
STAMPING_TIMEOUT_S = 0.2  # within the lead before instant 0 (locustfile.py)
READ_BYTES = 65_536
_CLOSED_EARLY = "the server closed the connection before it answered"


def has_kernel_stamps() -> bool:
    return sys.platform == "linux" and struct.calcsize("P") == 8


def start_kernel_stamping() -> socket.socket:
    """A socket that has the kernel stamp what arrives, until it is closed.

    The kernel stamps nothing while no socket asks for it, and begins later than it is asked: on a
    busy machine by tens of milliseconds. So this one is sent bytes until one came with a stamp; a
    kernel that gave none for STAMPING_TIMEOUT_S is let be, and its reads say so themselves.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        stamped = socket.create_connection(server.getsockname())
        sender, _ = server.accept()
    stamped.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    deadline = time.monotonic() + STAMPING_TIMEOUT_S
    with sender:
        ancillary: list[tuple[int, int, bytes]] = []
        while not ancillary and time.monotonic() < deadline:
            sender.send(b"-")
            _, ancillary, _, _ = stamped.recvmsg(1, _ANCILLARY_BYTES)
            select.select([], [], [], 0.0 if ancillary else 0.0005)  # time.sleep is gevent's here
    return stamped


# Whose failure it is: the server's or its connection's, the driver's own, or nobody's: stopped.
FailureSource = Literal["server", "driver", "stop"]


class ConnectionFailedError(Exception):
    """No connection, or it broke. One line."""

    def __init__(self, message: str, source: FailureSource = "server") -> None:
        super().__init__(message)
        self.source = source


class Exchange:
    """One request and its response under way."""

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.response = Response()
        self.sent_at_ns = 0
        self.done = done  # resolved when the answer has ended, else holds the error
        self.on_data: Callable[[], None] | None = None  # more has arrived, and it goes on

    def feed(self, data: bytes | memoryview, at_ns: int) -> None:
        try:
            self.response.feed(data, at_ns)
        except ProtocolError as error:
            return self.fail(str(error))
        if self.response.is_complete:
            self.end()
        elif self.on_data is not None:
            self.on_data()
        return None

    def feed_end(self) -> None:
        try:
            self.response.feed_end()
        except ProtocolError as error:
            return self.fail(str(error))
        return self.end()

    def end(self) -> None:
        """Nothing more is waited for."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, message: str, source: FailureSource = "server") -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionFailedError(message, source))


class Connection(Protocol):
    """Carries one exchange at a time."""

    def start(self, request: bytes, exchange: Exchange) -> None:
        """Stamp `sent_at_ns` and send. What arrives from now on is fed to the exchange."""
        ...

    def is_idle_and_open(self) -> bool: ...

    def close(self) -> None: ...


class KernelConnection:
    """A non-blocking TCP socket read with recvmsg, one read per readiness.

    `buffer` may be shared by all connections of a loop: what was read is copied out at once.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: KernelClock,
        buffer: memoryview,
    ) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._loop = loop
        self._clock = clock
        self._buffer = buffer
        self._exchange: Exchange | None = None
        self._unsent = memoryview(b"")
        self._last_at_ns = 0
        self._is_reset = False
        self._num_segments = self._count_segments()
        self._is_open = True
        loop.add_reader(self._fd, self._on_readable)

    def start(self, request: bytes, exchange: Exchange) -> None:
        self._exchange = exchange
        self._unsent = memoryview(request)
        exchange.sent_at_ns = self._last_at_ns = time.monotonic_ns()
        if not self._is_open:  # it was while it waited for its instant
            return exchange.fail(_CLOSED_EARLY)
        self._on_writable()
        if self._unsent and self._is_open:
            self._loop.add_writer(self._fd, self._on_writable)
        return None

    def is_idle_and_open(self) -> bool:
        if not self._is_open:
            return False
        if self._exchange is not None and not self._exchange.response.can_reuse_connection:
            return False
        return not self._unsent

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._socket.close()

    def _on_writable(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The server hung up without reading all. The reader will see how: by the end of the
            # stream, or by an answer that is still in the receive queue. It is called, for the
            # loop may have ceased to watch.
            self._unsent = memoryview(b"")
            self._loop.call_soon(self._read_on)
        self._loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        try:
            size, ancillary, _, _ = self._socket.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            return self._break(error)
        exchange = self._exchange
        if size == 0 or exchange is None or exchange.response.is_complete:
            # Closed by the server; or words that nobody asked for.
            self.close()
            if exchange is not None:
                exchange.feed_end()
            return None
        at_ns = self._stamp(ancillary, exchange.response)
        self._last_at_ns = at_ns
        self._note_packets(exchange.response, time.monotonic_ns() - at_ns)
        exchange.feed(self._buffer[:size], at_ns)
        if self._is_reset:
            self._loop.call_soon(self._read_on)
        return None

    def _read_on(self) -> None:
        """Reads what the loop will not tell of: at a reset it calls the reader once and watches no
        longer (libuv), and that once there may have been data to read first."""
        if self._is_open:
            self._on_readable()

    def _stamp(self, ancillary: list[tuple[int, int, bytes]], response: Response) -> int:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
                stamp_ns = seconds * 1_000_000_000 + nanoseconds
                return self._clock.to_monotonic_ns(stamp_ns, not_before_ns=self._last_at_ns)
        response.is_kernel_stamped = False
        return time.monotonic_ns()

    def _note_packets(self, response: Response, delay_ns: int) -> None:
        """How many with data came since the last read: one that arrives just now is put down to
        this read too, so that a doubt is the driver's."""
        if self._num_segments is None:
            return
        before, self._num_segments = self._num_segments, self._count_segments()
        response.read_segments.append((self._num_segments or before) - before)
        response.read_delay_ns.append(delay_ns)

    def _count_segments(self) -> int | None:
        if sys.platform != "linux":
            return None
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        self._is_reset = info[0] == _TCP_CLOSE
        if len(info) < _TCP_INFO_BYTES:
            return None
        count: int = _NUM_SEGMENTS.unpack_from(info, _NUM_SEGMENTS_OFFSET)[0]
        return count

    def _break(self, error: OSError) -> None:
        self.close()
        if self._exchange is not None:
            self._exchange.fail(f"the connection broke: {error.strerror or error}")


class StreamConnection(asyncio.Protocol):
    """asyncio's transport, with or without TLS; stamped in user space as data is handed over."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at_ns = time.monotonic_ns()
        if self._exchange is None or self._exchange.response.is_complete:
            return self.close()
        self._exchange.response.is_kernel_stamped = False
        self._exchange.feed(data, at_ns)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._exchange is None:
            return
        if exc is None:
            self._exchange.feed_end()
        else:
            self._exchange.fail(f"the connection broke: {exc}")

    def start(self, request: bytes, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.sent_at_ns = time.monotonic_ns()
        if self._transport is None:
            return exchange.fail(_CLOSED_EARLY)
        self._transport.write(request)
        return None

    def is_idle_and_open(self) -> bool:
        if self._transport is None or self._transport.is_closing():
            return False
        return self._exchange is None or self._exchange.response.can_reuse_connection

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
