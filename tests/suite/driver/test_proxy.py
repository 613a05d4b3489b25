"""Through a proxy where the file names one, and never through the environment's."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from engines.openai import OpenAISettings
from suite.driver.connection import ConnectionFailedError, Exchange
from suite.driver.pool import Pool
from suite.driver.target import Target
from tests.recording_server import recording_server
from tests.suite.driver.conftest import Played, ScriptedEngine
from workloads.plan import Plan

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ForwardingProxy:
    """Forwards what comes with a whole URL, and tunnels after CONNECT; keeps what it was asked."""

    def __init__(self, refusal: bytes | None = None) -> None:
        self.heads: list[str] = []
        self._refusal = refusal

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            method, url, _ = head.decode().split(" ", 2)
            if self._refusal is not None:
                writer.write(self._refusal)
            elif method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await _pass_on(url, reader, writer)
            else:
                server = url.removeprefix("http://").partition("/")[0]
                path = url.removeprefix("http://").removeprefix(server)
                first = head.replace(url.encode(), path.encode())
                await _pass_on(server, reader, writer, first)


async def _pass_on(
    server: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b""
) -> None:
    host, port = server.rsplit(":", 1)
    theirs, to_them = await asyncio.open_connection(host, int(port))
    with contextlib.closing(to_them):
        to_them.write(first)
        await asyncio.gather(_pump(reader, to_them), _pump(theirs, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Its URL, and the heads of the requests it got."""
    forwarding, ports = ForwardingProxy(), queue.SimpleQueue[int]()
    loop, is_over = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(forwarding.serve, "127.0.0.1", 0)
        async with server:
            ports.put(server.sockets[0].getsockname()[1])
            await is_over.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    yield f"http://127.0.0.1:{ports.get(timeout=60)}", forwarding.heads
    loop.call_soon_threadsafe(is_over.set)
    thread.join()


def attach(engine: ScriptedEngine, **fields: str) -> str:
    settings = OpenAISettings(base_url=f"http://127.0.0.1:{engine.port}/v1", **fields)
    with settings.running(name="mine", directory=Path(), priorities=None) as attached:
        assert attached.endpoint.proxy == fields.get("proxy")
        return attached.endpoint.model


def test_the_environments_proxies_are_used_by_nobody(
    engine: ScriptedEngine,
    make_plan: Callable[..., Plan],
    drive_in_process: Callable[..., Played],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert attach(engine) == "truthful"
    [record] = drive_in_process(make_plan(), engine.endpoint()).records
    assert record.error is None


def test_the_load_and_every_look_at_the_server_take_the_files_proxy(
    engine: ScriptedEngine,
    make_plan: Callable[..., Plan],
    drive_in_process: Callable[..., Played],
    proxy: tuple[str, list[str]],
) -> None:
    url, heads = proxy
    assert attach(engine, proxy=url) == "truthful"
    server = f"http://127.0.0.1:{engine.port}/v1"
    assert heads[-1].startswith(f"GET {server}/models ")
    to = replace(engine.endpoint(), proxy=url.replace("//", "//me:s%20t@"))
    records = drive_in_process(make_plan(num_turns=2), to).records
    assert [record.error for record in records] == [None, None]
    assert heads[-1].startswith(f"POST {server}/completions ")
    assert "Proxy-Authorization: Basic bWU6cyB0\r\n" in heads[-1]


def test_a_proxy_that_is_not_there_is_named(
    engine: ScriptedEngine, make_plan: Callable[..., Plan], drive_in_process: Callable[..., Played]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        to = replace(engine.endpoint(), proxy=f"http://127.0.0.1:{port}")
        [record] = drive_in_process(make_plan(), to).records
    assert f"through the proxy 127.0.0.1:{port}" in (record.error or "")


@contextlib.asynccontextmanager
async def tls_behind(proxy: ForwardingProxy, certificate: Path) -> AsyncIterator[Target]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    between = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    ports = [each.sockets[0].getsockname()[1] for each in (server, between)]
    async with server, between:
        yield Target.from_url(f"https://localhost:{ports[0]}/v1", f"http://127.0.0.1:{ports[1]}")


def test_tls_goes_through_a_tunnel(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    willing, unwilling = ForwardingProxy(), ForwardingProxy(b"HTTP/1.1 407 Who are you\r\n\r\n")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with tls_behind(willing, certificate) as target:
            pool = Pool(target, loop)
            connection, _ = await pool.take()
            exchange = Exchange(loop.create_future())
            connection.start(b"GET /v1 HTTP/1.1\r\n\r\n", exchange)
            await asyncio.wait_for(exchange.done, 60)
            assert exchange.response.body() == b"ok"
            pool.close()
        assert willing.heads[0].startswith(f"CONNECT localhost:{target.port} HTTP/1.1\r\n")
        async with tls_behind(unwilling, certificate) as target:
            pool = Pool(target, loop)
            with pytest.raises(ConnectionFailedError, match="the proxy answers '407 Who are you'"):
                await pool.take()
            pool.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_server_with_tls_is_measured_through_a_tunnel(
    authority: tuple[Path, Path],
    make_plan: Callable[..., Plan],
    drive_in_process: Callable[..., Played],
    proxy: tuple[str, list[str]],
) -> None:
    (url, heads), (ca_file, certificate) = proxy, authority
    with recording_server(certificate) as server:
        settings = OpenAISettings(
            base_url=server.base_url,
            proxy=url.replace("//", "//me:secret@"),
            tls={"ca_file": str(ca_file)},
            headers={"X-User": "${user_id}"},
        )
        with settings.running(name="mine", directory=Path(), priorities=None) as attached:
            records = drive_in_process(make_plan(num_turns=2), attached.endpoint).records
        assert [record.error for record in records] == [None, None]
        place = server.base_url.removeprefix("https://").removesuffix("/v1")
        assert {head.split(" HTTP/")[0] for head in heads} == {f"CONNECT {place}"}
        assert all("Basic bWU6c2VjcmV0\r\n" in head for head in heads)
        assert [each.headers["x-user"] for each in server.asked] == ["u0", "u0"]
        assert all("proxy-authorization" not in each.headers for each in server.got)
