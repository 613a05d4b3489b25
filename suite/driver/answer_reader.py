"""Reads an answer from its response, while that arrives: event by event, a few at a stretch."""

from __future__ import annotations

from suite.driver.answer import Answer
from suite.driver.event_json import EventError, json_object
from suite.driver.faults import body_message
from suite.driver.http1 import Response
from suite.driver.sse import EventReader, is_done

_STREAM = "text/event-stream"
_STREAM_BEGINNINGS = (b"data:", b"event:", b":", b"id:", b"retry:")
_COMPRESSIONS = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress")
_SHOWN_BYTES = 80


class AnswerReader:
    """`read_some` as often as there is more, also before the response is complete; `conclude` once,
    after it is complete or broken off."""

    def __init__(self, response: Response) -> None:
        self.answer = Answer()
        self._response = response
        self._events = EventReader(response)
        self._has_events = False

    def read_some(self, max_events: int) -> bool:
        """Returns whether there may be more to read."""
        if not self._is_event_stream():
            return False
        for _ in range(max_events):
            event = self._events.next()
            if event is None:
                return False
            self._has_events = True
            self.answer.take(event)
        return True

    def conclude(self) -> None:
        """Ends the reading, once all that arrived is read; says so where it was no answer."""
        response, answer = self._response, self.answer
        if not response.status:
            return
        if response.status != 200:
            answer.fail(_refusal(response))
        elif self._is_compressed:
            answer.fail(f"the stream is compressed ({self._encoding}), which was not asked for")
        elif not self._is_event_stream():
            kind = response.headers.get("content-type", "")
            answer.fail(f"expected an event stream, got {kind!r}: {body_message(response.body())}")
        elif response.is_complete:
            self._take_rest()

    def _take_rest(self) -> None:
        for event in self._events.rest():
            if event.kind in ("bare", "error") or is_done(event.data) or _is_whole(event.data):
                self._has_events = True
                self.answer.take(event)
        body = self._response.body()
        if not self._has_events and body.strip():
            self.answer.fail(f"the stream has no event: {body[:_SHOWN_BYTES]!r}")

    def _is_event_stream(self) -> bool:
        """Judges by media type, or else by the beginning: some proxies call each stream JSON."""
        response = self._response
        if response.status != 200 or self._is_compressed:
            return False
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == _STREAM:
            return True
        return bool(response.parts) and response.beginning().startswith(_STREAM_BEGINNINGS)

    @property
    def _encoding(self) -> str:
        return self._response.headers.get("content-encoding", "").lower()

    @property
    def _is_compressed(self) -> bool:
        """`none`, or a character set, stands there to keep proxies from compressing."""
        return any(part.strip() in _COMPRESSIONS for part in self._encoding.split(","))


def _is_whole(data: bytes) -> bool:
    try:
        json_object(data)
    except EventError:
        return False
    return True


def _refusal(response: Response) -> str:
    line = f"{response.status} {response.reason}".strip()
    wait = response.headers.get("retry-after")
    words = body_message(response.body())
    place = response.headers.get("location")
    if place is not None:
        words = f"{words} (to {place})".lstrip()
    return f"{line}: {words}" + (f" (Retry-After: {wait})" if wait else "")
