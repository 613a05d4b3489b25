"""A client of another kind than fsbench's driver: a blocking socket, one read after the other, the
clock looked at when `recv` returns. It shares no code with the driver, and knows only what the
servers that are tried send: HTTP/1.1 chunked, events that end in a blank line.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Instants of one answer, CLOCK_MONOTONIC seconds."""

    sent_at: float
    token_at: tuple[float, ...]  # of each chunk with text
    done_at: float
    num_tokens: int  # as the server counts them, else chunks


def ask(port: int, path: str, body: dict[str, Any], key: str | None) -> Timed:
    """Asks over a connection of its own, made before the clock is started."""
    content = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
    head += [f"Authorization: Bearer {key}"] if key else []
    head += [f"Content-Length: {len(content)}", "Connection: close", "", ""]
    request = "\r\n".join(head).encode() + content
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent_at = time.monotonic()
        sock.sendall(request)
        reads = []
        while piece := sock.recv(65_536):
            reads.append((time.monotonic(), piece))
            if b"data: [DONE]" in piece or piece.endswith(b"0\r\n\r\n"):
                break
    return _timed(sent_at, reads)


def _timed(sent_at: float, reads: list[tuple[float, bytes]]) -> Timed:
    received, ends = b"", []
    for at, piece in reads:
        received += piece
        ends.append((len(received), at))
    if not received.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the plain client was refused: {received[:300]!r}")
    token_at, num_tokens = [], None
    for end, event in events(received):
        choices = event.get("choices") or [{}]
        said = choices[0].get("delta", choices[0])
        if said.get("content") or said.get("text"):
            token_at.append(next(at for offset, at in ends if offset >= end))
        if event.get("usage"):
            num_tokens = event["usage"]["completion_tokens"]
    return Timed(
        sent_at=sent_at,
        token_at=tuple(token_at),
        done_at=reads[-1][0],
        num_tokens=num_tokens or len(token_at),
    )


def events(stream: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Returns each event with the offset of its last byte in the stream, framing and all."""
    found, place = [], 0
    while (start := stream.find(b"data: {", place)) >= 0:
        end = stream.find(b"\n\n", start)
        if end < 0:
            break
        place = end + 2
        text = stream[start + 6 : end]
        try:
            found.append((place, json.loads(text)))
        except ValueError:  # cut by a chunk's frame
            found.append((place, json.loads(_unframed(text))))
    return found


def _unframed(text: bytes) -> bytes:
    """Returns an event without the size lines that stand within it."""
    first, *others = text.split(b"\r\n")
    return first + b"".join(others[1::2])
