"""A way through a proxy for TLS: asked for with CONNECT, and nothing but bytes from then on."""

from __future__ import annotations

import asyncio
import socket

from suite.driver.connection import ConnectionFailedError
from suite.driver.target import Target

_MAX_HEAD_BYTES = 16_384


async def open_tunnel(target: Target, loop: asyncio.AbstractEventLoop) -> socket.socket:
    """Raises OSError, ConnectionFailedError."""
    assert target.proxy is not None, target
    found = await loop.getaddrinfo(*target.first_hop, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        name = f"[{target.host}]" if ":" in target.host else target.host
        server = f"{name}:{target.port}"
        head = f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{target.proxy.header}\r\n"
        await loop.sock_sendall(sock, head.encode())
        _check(target, await _answer(sock, loop))
    except BaseException:
        sock.close()
        raise
    return sock


async def _answer(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> bytes:
    """Reads the answer's head byte by byte: what follows is TLS's."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < _MAX_HEAD_BYTES:
        byte = await loop.sock_recv(sock, 1)
        if not byte:
            break
        head += byte
    return head


def _check(target: Target, head: bytes) -> None:
    line = head.partition(b"\r\n")[0].decode("latin-1")
    _, _, answer = line.partition(" ")
    if not answer.startswith("2"):
        raise ConnectionFailedError(
            f"cannot connect to {target}: the proxy answers {answer.strip() or 'nothing'!r}"
        )
