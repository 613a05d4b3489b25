"""Keep-alive connections to one server, opened before they are needed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import weakref
from dataclasses import dataclass
from urllib.parse import urlsplit

from suite.driver.clock import KernelClock
from suite.driver.connection import (
    READ_BYTES,
    SO_TIMESTAMPNS,
    Connection,
    ConnectionFailedError,
    KernelConnection,
    StreamConnection,
    has_kernel_stamps,
    start_kernel_stamping,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    host: str
    port: int
    path: str  # of the base URL, without a slash at its end
    is_tls: bool

    @classmethod
    def from_url(cls, base_url: str) -> Target:
        url = urlsplit(base_url)
        is_tls = url.scheme == "https"
        return cls(
            host=url.hostname or "localhost",
            port=url.port or (443 if is_tls else 80),
            path=url.path.rstrip("/"),
            is_tls=is_tls,
        )

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Pool:
    """Hands out an idle connection, the last used first, or opens one. One loop, one thread."""

    def __init__(
        self,
        target: Target,
        loop: asyncio.AbstractEventLoop,
        *,
        wants_kernel_stamps: bool = True,
    ) -> None:
        self._target = target
        self._loop = loop
        can_be_stamped = has_kernel_stamps() and not target.is_tls
        self._is_kernel_stamped = wants_kernel_stamps and can_be_stamped
        self._clock = KernelClock()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._tls = ssl.create_default_context() if target.is_tls else None
        self._addresses: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
        self._idle: list[Connection] = []
        self._opened: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._stamper = start_kernel_stamping() if self._is_kernel_stamped else None

    async def take(self) -> tuple[Connection, bool]:
        """A connection, and whether it was used before (the server may just be closing it)."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_idle_and_open():
                return connection, True
            connection.close()
        return await self.open(), False

    async def open(self) -> Connection:
        """A new one. Raises ConnectionFailedError."""
        try:
            if not self._is_kernel_stamped:
                connection: Connection = await self._open_stream()
            else:
                connection = await self._open_kernel()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConnectionFailedError(f"cannot connect to {self._target}: {reason}") from None
        self._opened.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        if connection.is_idle_and_open():
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """All, also those that are lent: uvloop waits for ever to close while one is watched."""
        for connection in list(self._opened):
            connection.close()
        self._idle.clear()
        if self._stamper is not None:
            self._stamper.close()

    async def _open_stream(self) -> StreamConnection:
        _, connection = await self._loop.create_connection(
            StreamConnection, self._target.host, self._target.port, ssl=self._tls
        )
        return connection

    async def _open_kernel(self) -> KernelConnection:
        if not self._addresses:
            found = await self._loop.getaddrinfo(
                self._target.host, self._target.port, type=socket.SOCK_STREAM
            )
            self._addresses = [
                (family, (str(target[0]), int(target[1]))) for family, _, _, _, target in found
            ]
        error: OSError | None = None
        for address in list(self._addresses):
            try:
                connection = await self._open_address(*address)
            except OSError as failure:
                error = failure
            else:
                self._addresses = [address]  # `localhost` may name one that nobody listens on
                return connection
        assert error is not None, self._addresses
        raise error

    async def _open_address(
        self, family: socket.AddressFamily, address: tuple[str, int]
    ) -> KernelConnection:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            await self._loop.sock_connect(sock, address)
            return KernelConnection(sock, loop=self._loop, clock=self._clock, buffer=self._buffer)
        except BaseException:
            sock.close()
            raise
