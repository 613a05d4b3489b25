"""Keep-alive connections to one server, opened before they are needed."""

from __future__ import annotations

import asyncio
import errno
import socket
import weakref

from engines.tls import tls_context
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
from suite.driver.open_files import limit_note
from suite.driver.target import Target
from suite.driver.tunnel import open_tunnel

MAX_DEATHS = 3  # of kept connections, as they were used again
_NO_FILE_LEFT = (errno.EMFILE, errno.ENFILE)


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
        self._tls = tls_context(target.tls) if target.is_tls else None
        self._addresses: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
        self._idle: list[Connection] = []
        self._num_deaths = 0
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

    async def reopen(self) -> Connection:
        """Opens a connection in place of a kept one that died as it was used again. A server that
        does so again and again (llama.cpp closes after each answer, and its head says keep-alive)
        gets a new one for each turn from then on, before the turn's instant and not after it.
        Raises ConnectionFailedError."""
        self._num_deaths += 1
        return await self.open()

    async def open(self) -> Connection:
        """Opens a new connection. Raises ConnectionFailedError."""
        try:
            if not self._is_kernel_stamped:
                connection: Connection = await self._open_stream()
            else:
                connection = await self._open_kernel()
        except OSError as error:
            reason = error.strerror or str(error)
            failure = f"cannot connect to {self._target}: {reason}"
            if error.errno in _NO_FILE_LEFT:
                raise ConnectionFailedError(f"{failure}: {limit_note()}", "driver") from None
            raise ConnectionFailedError(failure) from None
        self._opened.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        if connection.is_idle_and_open() and self._num_deaths < MAX_DEATHS:
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
        target, loop = self._target, self._loop
        if not target.is_tunnelled:
            _, connection = await loop.create_connection(
                StreamConnection, *target.first_hop, ssl=self._tls
            )
            return connection
        sock = await open_tunnel(target, loop)
        try:
            _, connection = await loop.create_connection(
                StreamConnection, sock=sock, ssl=self._tls, server_hostname=target.host
            )
        except BaseException:
            sock.close()
            raise
        return connection

    async def _open_kernel(self) -> KernelConnection:
        if not self._addresses:
            found = await self._loop.getaddrinfo(*self._target.first_hop, type=socket.SOCK_STREAM)
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
