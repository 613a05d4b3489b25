"""A socket, a loop, a running app: from binding the port to a clean end."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import signal
import socket
from pathlib import Path

import uvloop
from aiohttp import web

from engines.errors import EngineError, EngineInputError
from engines.serving.app import BRIDGE

# Between two turns of a conversation its connection idles for a think time.
_KEEPALIVE_S = 3600.0
_SHUTDOWN_S = 5.0


def bind(host: str, port: int, *, api_key: str | None) -> socket.socket:
    """Returns a bound socket that does not listen yet, so that a busy port is known before a model
    loads.

    Port 0 takes a free one. Raises EngineInputError: port busy, host unknown, or reachable from
    outside without a key.
    """
    if api_key is None and not _is_loopback(host):
        raise EngineInputError(
            f"serve: host {host} can be reached from outside and there is no key; "
            "give --api-key KEY or serve on 127.0.0.1"
        )
    if not 0 <= port < 65_536:
        raise EngineInputError(
            f"serve: port must be from 0 to 65535, got {port}; 0 takes a free one"
        )
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise EngineInputError(
            f"serve: host {host} has no address: {error.strerror}; give an address or a known name"
        ) from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _of_bind(error, host, port) from None
    return listener


def serve(
    app: web.Application,
    listener: socket.socket,
    *,
    ready_file: Path | None = None,
    greeting: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Raises EngineError when the engine dies meanwhile.

    Once requests are taken, `ready_file` appears, whole ({"port": …, "pid": …}), and `greeting` is
    printed.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, listener, ready_file, greeting))


async def _serve(
    app: web.Application, listener: socket.socket, ready_file: Path | None, greeting: str | None
) -> None:
    runner = app_runner(app)
    await runner.setup()
    try:
        await _listen(runner, listener)
        if ready_file is not None:
            _announce(ready_file, port=listener.getsockname()[1])
        if greeting is not None:
            print(greeting, flush=True)
        await _until_told_or_dead(app)
    finally:
        await runner.cleanup()
    failure = app[BRIDGE].failure
    if failure is not None:
        raise EngineError(f"serve: the engine died: {type(failure).__name__}: {failure}")


def app_runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,  # a client that leaves ends its request
        keepalive_timeout=_KEEPALIVE_S,
        shutdown_timeout=_SHUTDOWN_S,
    )


async def _listen(runner: web.AppRunner, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    try:
        await web.SockSite(runner, listener, backlog=1024).start()
    except OSError as error:  # someone bound the same port and was the first to listen
        raise _of_bind(error, host, port) from None


async def _until_told_or_dead(app: web.Application) -> None:
    """Waits until a signal or the engine's death. A second signal finds the default handlers again
    and ends the process at once."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, told.set)
    waits = [asyncio.ensure_future(event.wait()) for event in (told, app[BRIDGE].has_failed)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        for number in signals:
            loop.remove_signal_handler(number)


def _announce(ready_file: Path, *, port: int) -> None:
    draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    draft.write_text(json.dumps({"port": port, "pid": os.getpid()}))
    draft.replace(ready_file)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_bind(error: OSError, host: str, port: int) -> EngineInputError:
    return EngineInputError(
        f"serve: cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}; "
        "choose another port, or 0 for a free one"
    )
