"""Server-sent events over one HTTP response: a step's tokens go out in one write, at once.

After the headers every chunk is framed here and handed to the transport directly: no task, no
copy and no await between the engine's step and the socket. aiohttp ends the response itself, so
the connection stays usable for the next turn.
"""

from __future__ import annotations

import contextlib
import logging

import orjson
from aiohttp import HttpVersion11, web

from engines.serving.errors import ApiError
from engines.serving.generation import Generation, Piece
from engines.serving.replies import Json, Reply
from engines.serving.schemas import StreamOptions

logger = logging.getLogger(__name__)

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_DONE = b"data: [DONE]\n\n"


class EventStream:
    """The open response. Everything given to one `send` is one write."""

    def __init__(self, request: web.Request, *, max_unread_bytes: int) -> None:
        self._request = request
        self._response = web.StreamResponse(headers=_HEADERS)
        self._is_chunked = request.version >= HttpVersion11  # HTTP/1.0 ends with the connection
        self._max_unread_bytes = max_unread_bytes

    async def open(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client is gone: `send` swallows the rest
            await self._response.prepare(self._request)

    def send(self, events: bytes) -> None:
        """A reader too slow for its tokens is dropped; a closed connection swallows the events.
        Both cancel the handler, which aborts the request."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        transport.write(b"%x\r\n%b\r\n" % (len(events), events) if self._is_chunked else events)
        num_unread = transport.get_write_buffer_size()
        if num_unread > self._max_unread_bytes:
            logger.warning(
                "%s reads too slowly: %d bytes wait, at most %d may; dropped",
                self._request.remote,
                num_unread,
                self._max_unread_bytes,
            )
            transport.abort()

    async def close(self) -> web.StreamResponse:
        """A client may leave with the last token, before the body's end."""
        with contextlib.suppress(ConnectionError):
            await self._response.write_eof()
        return self._response


class TokenStream:
    """Turns a generation's pieces into events; `write` is its `deliver`."""

    def __init__(self, events: EventStream, reply: Reply, options: StreamOptions) -> None:
        self._events = events
        self._reply = reply
        self._options = options
        self._is_first = True

    def begin(self) -> None:
        opening = self._reply.opening()
        if opening is not None:
            self._events.send(event(opening))

    def write(self, piece: Piece, generation: Generation) -> None:
        chunk = self._reply.chunk(piece, is_first=self._is_first)
        self._is_first = False
        if self._options.continuous_usage_stats:
            chunk["usage"] = generation.usage()
        frames = event(chunk)
        if piece.finish_reason is not None:
            frames += self._ending(generation.usage())
        self._events.send(frames)

    def _ending(self, usage: dict[str, object]) -> bytes:
        if not self._options.include_usage:
            return _DONE
        return event({**self._reply.closing(), "usage": usage}) + _DONE

    def fail(self, error: ApiError) -> None:
        self._events.send(b"data: %b\n\n" % error.body())


def event(body: Json) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(body)
