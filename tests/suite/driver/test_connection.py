"""Connections against small servers in the same loop: reuse, hang-ups, both ways of stamping."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from suite.driver.connection import Connection, ConnectionFailedError, Exchange
from suite.driver.pool import MAX_DEATHS, Pool
from suite.driver.target import Target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"POST /v1/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def pool_to(serve: Serve, *, is_kernel_stamped: bool = True) -> AsyncIterator[Pool]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        target = Target.from_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        pool = Pool(target, asyncio.get_running_loop(), wants_kernel_stamps=is_kernel_stamped)
        try:
            yield pool
        finally:
            pool.close()


async def exchange(connection: Connection, request: bytes = REQUEST) -> Exchange:
    result = Exchange(asyncio.get_running_loop().create_future())
    connection.start(request, result)
    await asyncio.wait_for(result.done, 60)
    return result


async def closed(connection: Connection) -> None:
    """Until the server's hang-up has come here."""
    while connection.is_idle_and_open():
        await asyncio.sleep(0.001)


async def answer_forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
    writer.close()


async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()
    writer.close()


def run(main: Awaitable[None]) -> None:
    async def whole() -> None:
        await main

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


@pytest.mark.parametrize("is_kernel_stamped", [True, False])
def test_a_connection_is_kept_and_used_again(is_kernel_stamped: bool) -> None:
    async def main() -> None:
        async with pool_to(answer_forever, is_kernel_stamped=is_kernel_stamped) as pool:
            first, was_used = await pool.take()
            assert not was_used
            before_ns = time.monotonic_ns()
            done = await exchange(first)
            assert before_ns <= done.sent_at_ns <= done.response.read_at_ns[0]
            assert done.response.read_at_ns[0] <= time.monotonic_ns()
            assert done.response.body() == b"ok"
            assert done.response.is_kernel_stamped is is_kernel_stamped
            pool.give_back(first)
            second, was_used = await pool.take()
            assert second is first
            assert was_used
            assert (await exchange(second)).response.body() == b"ok"
            pool.give_back(second)

    run(main())


@pytest.mark.parametrize("is_kernel_stamped", [True, False])
def test_a_connection_that_the_server_closed_meanwhile_is_not_handed_out(
    is_kernel_stamped: bool,
) -> None:
    async def main() -> None:
        async with pool_to(answer_once, is_kernel_stamped=is_kernel_stamped) as pool:
            first, _ = await pool.take()
            await exchange(first)
            pool.give_back(first)
            await closed(first)
            second, was_used = await pool.take()
            assert second is not first
            assert not was_used
            second.close()

    run(main())


def test_a_server_whose_kept_connections_die_again_and_again_gets_a_new_one_for_each_turn() -> None:
    async def main() -> list[bool]:
        was_used = []
        async with pool_to(answer_forever) as pool:
            for number in range(MAX_DEATHS + 3):
                connection, is_used = await pool.take()
                was_used.append(is_used)
                await exchange(connection)
                pool.give_back(connection)
                if 0 < number <= MAX_DEATHS:
                    again = await pool.reopen()  # as after a death
                    again.close()
        return was_used

    kept = [False, *[True] * MAX_DEATHS]
    assert uvloop.run(main()) == [*kept, True, False]


@pytest.mark.parametrize("is_kernel_stamped", [True, False])
def test_a_pool_closes_what_it_has_lent_so_that_the_loop_can_close(is_kernel_stamped: bool) -> None:
    async def main() -> None:
        async with pool_to(answer_forever, is_kernel_stamped=is_kernel_stamped) as pool:
            lent, _ = await pool.take()
        assert not lent.is_idle_and_open()

    run(main())


@pytest.mark.parametrize("is_kernel_stamped", [True, False])
def test_a_hang_up_without_an_answer_is_an_error(is_kernel_stamped: bool) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def main() -> None:
        async with pool_to(hang_up, is_kernel_stamped=is_kernel_stamped) as pool:
            connection, _ = await pool.take()
            with pytest.raises(ConnectionFailedError, match="before it answered"):
                await exchange(connection)
            assert not connection.is_idle_and_open()
            connection.close()

    run(main())


@pytest.mark.parametrize("is_kernel_stamped", [True, False])
def test_a_connection_closed_while_it_waited_for_its_instant_is_an_error_at_once(
    is_kernel_stamped: bool,
) -> None:
    async def main() -> None:
        async with pool_to(answer_once, is_kernel_stamped=is_kernel_stamped) as pool:
            held, _ = await pool.take()
            await exchange(held)
            await closed(held)
            with pytest.raises(ConnectionFailedError, match="before it answered"):
                await exchange(held)

    run(main())


def test_a_request_larger_than_the_socket_buffer_is_sent_whole() -> None:
    size = 8_000_000
    got = 0

    async def read_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await asyncio.sleep(0.05)
        got = len(await reader.readexactly(size))
        writer.write(OK)
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with pool_to(read_slowly) as pool:
            connection, _ = await pool.take()
            await exchange(connection, b"x" * size)
            connection.close()

    run(main())
    assert got == size


def test_tls_is_spoken_with_servers_that_can_be_trusted_and_no_others(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def main(is_trusted: bool) -> None:
        server = await asyncio.start_server(answer_once, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        target = Target(host="localhost", port=port, path="/v1", is_tls=True)
        pool = Pool(target, asyncio.get_running_loop())
        async with server:
            if is_trusted:
                connection, _ = await pool.take()
                response = (await exchange(connection)).response
                assert response.is_complete
                assert not response.is_kernel_stamped
                connection.close()
            else:
                with pytest.raises(ConnectionFailedError, match=r"certificate|CERTIFICATE"):
                    await pool.take()
        pool.close()

    run(main(is_trusted=False))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    run(main(is_trusted=True))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h:81/v1/", Target(host="h", port=81, path="/v1", is_tls=False)),
        ("https://h/v1", Target(host="h", port=443, path="/v1", is_tls=True)),
        ("http://[::1]:9/v1", Target(host="::1", port=9, path="/v1", is_tls=False)),
    ],
)
def test_a_base_url_is_taken_apart(url: str, target: Target) -> None:
    assert Target.from_url(url) == target


def test_the_host_header_names_a_port_that_is_not_the_schemes_own() -> None:
    assert Target.from_url("https://h/v1").host_header == "h"
    assert Target.from_url("http://[::1]:9/v1").host_header == "[::1]:9"
