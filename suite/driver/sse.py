"""Server-sent events of a finished response, each with the read that completed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from suite.driver.http1 import Response


@dataclass(frozen=True, slots=True)
class Event:
    kind: str  # "message" unless the server named it
    data: bytes
    read: int  # index of the read that brought the event's last byte


class _ReadOfOffset:
    """Index of the read that brought a body byte. Asked in ascending order only."""

    def __init__(self, response: Response) -> None:
        parts = list(response.body_parts())
        self._part_starts = [start for start, _ in parts]
        self._part_ends = list(accumulate(stop - start for start, stop in parts))  # body offsets
        self._read_ends = response.read_ends
        self._part = 0
        self._read = 0

    def __call__(self, body_offset: int) -> int:
        while self._part_ends[self._part] <= body_offset:
            self._part += 1
        before = self._part_ends[self._part - 1] if self._part else 0
        raw_offset = self._part_starts[self._part] + body_offset - before
        while self._read_ends[self._read] <= raw_offset:
            self._read += 1
        return self._read


def events(response: Response) -> Iterator[Event]:
    """All complete events, in order; one cut off by the body's end is left out (as SSE asks)."""
    body = response.body()
    read_of = _ReadOfOffset(response)
    kind, data = "message", []
    start = 0
    while (end := body.find(b"\n", start)) >= 0:
        line = body[start:end].removesuffix(b"\r")
        start = end + 1
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            kind = line[6:].strip().decode("utf-8", "replace")
        elif not line:  # the blank line dispatches
            if data:
                yield Event(kind, b"\n".join(data), read_of(end))
            kind, data = "message", []
