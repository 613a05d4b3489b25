"""Server-sent events of a response, each with the read that completed it, while it arrives.

Beyond the standard's own forms (comments, CRLF or CR alone, a byte order mark, data over several
lines) it takes what servers really send: a JSON object or `[DONE]` on each line with no blank line
between, a last event without its blank line, and errors that stand outside of any `data:`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from suite.driver.http1 import Response

DONE = b"[DONE]"
_BOM = b"\xef\xbb\xbf"
_LAST_WORDS = (b"data: [DONE]", b"data:[DONE]")
_OTHER_FIELDS = (b"id", b"retry")


_ERROR_WORDS = re.compile(rb"error|exception|traceback", re.IGNORECASE)


def is_done(data: bytes) -> bool:
    """Returns whether it is the stream's last event, also where a server wrote it as JSON."""
    return data.strip().strip(b'"').upper() == DONE


@dataclass(frozen=True, slots=True)
class Event:
    kind: str  # "message" unless the server named it; "bare": JSON without `data:`
    data: bytes
    read: int  # index of the read that brought the event's last byte


class EventReader:
    """`next` gives one event after the other, None while no further one has arrived whole."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._read = 0  # the next one to look at
        self._part = 0  # of the body, that its bytes may lie in
        self._line = bytearray()  # not ended yet
        self._newline: bytes | None = None  # as this server writes it
        self._is_at_start = True
        self._is_event_a_line = False
        self._ready: deque[Event] = deque()
        self._kind = "message"
        self._data: list[bytes] = []
        self._data_read = 0  # that of the last line of `_data`
        self._data_kind = "message"  # as named before that line
        self._bare: list[bytes] = []

    def next(self) -> Event | None:
        while not self._ready and self._read < len(self._response.read_ends):
            self._take(self._body_of_next_read())
            self._read += 1
        return self._ready.popleft() if self._ready else None

    def rest(self) -> Iterator[Event]:
        """Yields what the body's end leaves over, once `next` gives no more: an event that lacks
        its blank line. The standard drops it; it is for the caller to see whether it is whole."""
        self._read = max(0, self._read - 1)
        if self._line:
            self._take_line(bytes(self._line).removesuffix(b"\r"))
            self._line.clear()
        self._dispatch(self._data_read)
        yield from self._ready
        self._ready.clear()

    def _body_of_next_read(self) -> bytes:
        response, read = self._response, self._read
        start = response.read_ends[read - 1] if read else 0
        stop = response.read_ends[read]
        pieces = []
        while self._part < len(response.parts):
            part_start, part_stop = response.parts[self._part]
            if part_start < stop:
                pieces.append(response.raw[max(start, part_start) : min(stop, part_stop)])
            if part_stop > stop:
                break
            self._part += 1
        return b"".join(pieces)

    def _take(self, body: bytes) -> None:
        self._line += body
        if self._newline is None:
            self._newline = self._find_newline()
        if self._newline is None:
            return
        *lines, rest = self._line.split(self._newline)
        for line in lines:
            self._take_line(bytes(line.removesuffix(b"\r")))
        self._line = rest
        if bytes(rest) in _LAST_WORDS:
            self._take_line(bytes(rest))
            self._line = bytearray()

    def _find_newline(self) -> bytes | None:
        """Returns LF, also after CR; CR alone if what follows is no LF; None: not known yet."""
        if self._is_at_start and len(self._line) < len(_BOM) and _BOM.startswith(self._line):
            return None
        if self._is_at_start and self._line.startswith(_BOM):
            del self._line[: len(_BOM)]
        self._is_at_start = False
        feed, carriage = self._line.find(b"\n"), self._line.find(b"\r")
        is_carriage_first = carriage >= 0 and (feed < 0 or feed > carriage + 1)
        if is_carriage_first and carriage + 1 < len(self._line):
            return b"\r"
        return b"\n" if feed >= 0 and not is_carriage_first else None

    def _take_line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        name = name.removeprefix(_BOM).strip().lower()
        if not line:
            self._dispatch(self._read)
        elif name == b"data":
            self._take_data(value.removeprefix(b" "))
        elif name == b"event":
            self._kind = value.strip().decode("utf-8", "replace")
        elif name == b"error":  # as llama.cpp wrote them
            self._dispatch(self._data_read)
            self._ready.append(Event("error", value.strip(), self._read))
        elif name and name not in _OTHER_FIELDS:
            self._bare.append(line)

    def _take_data(self, value: bytes) -> None:
        is_last = is_done(value)
        if self._data and not self._is_event_a_line:
            self._is_event_a_line = is_last or _is_whole(b"\n".join(self._data))
        if self._data and self._is_event_a_line:
            named, self._kind = self._kind, self._data_kind  # the name is that of the next one
            self._dispatch(self._data_read)
            self._kind = named
        self._data.append(value)
        self._data_read, self._data_kind = self._read, self._kind
        if is_last or self._is_event_a_line:
            self._dispatch(self._read)

    def _dispatch(self, read: int) -> None:
        if self._data:
            self._ready.append(Event(self._kind, b"\n".join(self._data), read))
        elif self._bare and self._bare[0].lstrip().startswith(b"{"):
            self._ready.append(Event("bare", b"\n".join(self._bare), read))
        elif self._bare and _ERROR_WORDS.search(b"\n".join(self._bare)):
            self._ready.append(Event("error", b"\n".join(self._bare), read))
        self._kind = "message"
        self._data.clear()
        self._bare.clear()


def _is_whole(data: bytes) -> bool:
    """Returns whether it is an event by itself: another line of data after it begins the next
    one."""
    if is_done(data):
        return True
    try:
        return isinstance(orjson.loads(data), dict)
    except orjson.JSONDecodeError:
        return False
