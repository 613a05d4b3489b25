"""A server that resets the connection, of which the loop tells nothing once data came with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
import uvloop

from suite.driver.connection import ConnectionFailedError, Exchange
from suite.driver.pool import Pool
from suite.driver.target import Target

REQUEST = b"POST /v1/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nok"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def resetting(answer: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server that answers once and resets; the event says that it has."""
    has_reset = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(answer)
            linger = (socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.setsockopt(*linger)
            connection.close()
            has_reset.set()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", has_reset
        thread.join()


async def exchanged(url: str, has_reset: threading.Event, *, again: bool) -> bool:
    """Asks, and stands still until the answer and the reset are both here. Returns whether the
    connection can be used again."""
    loop = asyncio.get_running_loop()
    pool = Pool(Target.from_url(url), loop)
    try:
        connection, _ = await pool.take()
        exchange = Exchange(loop.create_future())
        connection.start(REQUEST, exchange)
        assert has_reset.wait(60)
        time.sleep(0.05)
        await asyncio.wait_for(exchange.done, 20)
        if again:  # at once, before anybody has read further
            exchange = Exchange(loop.create_future())
            connection.start(REQUEST, exchange)
            await asyncio.wait_for(exchange.done, 20)
        await asyncio.sleep(0.05)
        return connection.is_idle_and_open()
    finally:
        pool.close()


def play(answer: bytes, *, again: bool = False) -> bool:
    with (
        resetting(answer) as (url, has_reset),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(exchanged(url, has_reset, again=again))


def test_a_reset_that_came_with_the_middle_of_an_answer_ends_it() -> None:
    with pytest.raises(ConnectionFailedError, match=r"broke|closed"):
        play(HALF)


def test_a_connection_that_was_reset_as_its_answer_ended_is_not_used_again() -> None:
    assert play(WHOLE) is False


def test_a_request_on_a_connection_that_was_reset_fails_at_once() -> None:
    with pytest.raises(ConnectionFailedError, match=r"broke|closed"):
        play(WHOLE, again=True)
