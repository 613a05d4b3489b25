"""One HTTP/1.1 response as it comes off the wire: every byte kept, and when each read arrived.

Framing is followed read by read, for that is what tells the end of a turn; what the body says is
read from here a little later (sse.py), so that no read waits for it.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterator
from enum import Enum, auto

MAX_HEAD_BYTES = 65_536
_HEX = re.compile(rb"[0-9a-fA-F]+")


class ProtocolError(Exception):
    """The server broke HTTP. One line."""


class _Framing(Enum):
    HEAD = auto()
    CHUNKED = auto()
    TRAILERS = auto()
    LENGTH = auto()
    UNTIL_CLOSE = auto()
    COMPLETE = auto()


class Response:
    """Fed by a connection; `is_complete` once the framing says so."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.read_ends = array("q")  # offset in `raw` just after each read
        self.read_at_ns = array("q")  # CLOCK_MONOTONIC of each read
        self.read_segments = array("q")  # packets that each read brought, where the kernel tells
        self.read_delay_ns = array("q")  # from the last one's arrival to the read
        self.is_kernel_stamped = True
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self._framing = _Framing.HEAD
        self._position = 0  # offset in `raw` up to which the framing is understood
        self.parts: list[tuple[int, int]] = []  # the body's spans in `raw`, also what is to come

    @property
    def is_complete(self) -> bool:
        return self._framing is _Framing.COMPLETE

    @property
    def knows_segments(self) -> bool:
        return len(self.read_segments) == len(self.read_ends)

    @property
    def has_begun(self) -> bool:
        return bool(self.raw)

    @property
    def can_reuse_connection(self) -> bool:
        options = self.headers.get("connection", "").lower().split(",")
        is_close = "close" in [option.strip() for option in options]
        return self.is_complete and not is_close and self._position == len(self.raw)

    def feed(self, data: bytes | memoryview, at_ns: int) -> None:
        """Raises ProtocolError."""
        self.raw += data
        self.read_ends.append(len(self.raw))
        self.read_at_ns.append(at_ns)
        self._follow()

    def feed_end(self) -> None:
        """Notes that the server closed. Raises ProtocolError if that cuts the body short."""
        if self._framing is _Framing.UNTIL_CLOSE:
            self._position = len(self.raw)
            self._framing = _Framing.COMPLETE
            self.headers["connection"] = "close"
        elif not self.is_complete:
            where = "the answer's end" if self.status else "it answered"
            raise ProtocolError(f"the server closed the connection before {where}")

    def body_parts(self) -> Iterator[tuple[int, int]]:
        """Spans of `raw` that hold the body received so far, in order."""
        for start, stop in self.parts:
            yield start, min(stop, len(self.raw))

    def body(self) -> bytes:
        return b"".join(bytes(self.raw[start:stop]) for start, stop in self.body_parts())

    def beginning(self) -> bytes:
        """The body's first bytes, as far as they lie in one piece."""
        start, stop = self.parts[0]
        return bytes(self.raw[start : min(stop, start + 16)]).lstrip()

    def _follow(self) -> None:
        if self._framing is _Framing.CHUNKED:
            self._follow_chunks()
        elif self._framing is _Framing.HEAD:
            self._read_head()
        if self._framing is _Framing.TRAILERS:
            self._follow_trailers()
        elif self._framing is _Framing.LENGTH and len(self.raw) >= self._position:
            self._framing = _Framing.COMPLETE

    def _read_head(self) -> None:
        while True:
            end = self.raw.find(b"\r\n\r\n", self._position)
            if end < 0:
                if len(self.raw) - self._position > MAX_HEAD_BYTES:
                    raise ProtocolError(f"the response's head is over {MAX_HEAD_BYTES} bytes")
                return
            self._parse_head(self.raw[self._position : end].decode("latin-1"))
            self._position = end + 4
            if self.status >= 200:  # 1xx only announces
                break
        self._choose_framing()

    def _parse_head(self, head: str) -> None:
        status_line, *lines = head.split("\r\n")
        version, _, rest = status_line.partition(" ")
        code, _, self.reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not code.isdecimal():
            raise ProtocolError(f"not an HTTP/1.1 response: {status_line[:80]!r}")
        self.status = int(code)
        self.headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        if version == "HTTP/1.0":
            self.headers.setdefault("connection", "close")

    def _choose_framing(self) -> None:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._framing = _Framing.CHUNKED
            self._follow_chunks()
        elif "content-length" in self.headers or self.status in (204, 304):
            length = self.headers.get("content-length", "0")
            if not length.isdecimal():
                raise ProtocolError(f"content-length is no number: {length[:40]!r}")
            start, self._position = self._position, self._position + int(length)
            self.parts.append((start, self._position))
            self._framing = _Framing.LENGTH
        else:
            self.parts.append((self._position, sys.maxsize))
            self._framing = _Framing.UNTIL_CLOSE

    def _follow_chunks(self) -> None:
        while len(self.raw) > self._position:
            line_end = self.raw.find(b"\r\n", self._position)
            if line_end < 0:
                return
            line = bytes(self.raw[self._position : line_end])
            size = _chunk_size(line)
            if size == 0:
                self._position = line_end  # the CRLF that ends the last size line
                self._framing = _Framing.TRAILERS
                return
            self.parts.append((line_end + 2, line_end + 2 + size))
            self._position = line_end + 2 + size + 2

    def _follow_trailers(self) -> None:
        end = self.raw.find(b"\r\n\r\n", self._position)
        if end >= 0:
            self._position = end + 4
            self._framing = _Framing.COMPLETE


def _chunk_size(line: bytes) -> int:
    """Returns the size in `1a;extension`. Digits alone: `int` would also take a sign."""
    digits = line.split(b";")[0].strip()
    if not _HEX.fullmatch(digits):
        raise ProtocolError(f"chunk size is no number: {line[:40]!r}")
    return int(digits, 16)
