"""A served app on a real socket, for tests: same runner as `serve`, same loop as the test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from engines.serving.admission import ServedModel
from engines.serving.app import create_app
from engines.serving.serve import app_runner
from tests.engines.serving.scripted_engine import (
    VOCAB_SIZE,
    ByteDetokenizer,
    ByteTokenizer,
    ScriptedEngine,
)

MODEL = ServedModel(
    name="bytes",
    tokenizer=ByteTokenizer(),
    make_detokenizer=ByteDetokenizer,
    max_context_tokens=4096,
    vocab_size=VOCAB_SIZE,
)


@dataclass
class Client:
    port: int
    http: aiohttp.ClientSession

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        """Status and decoded JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.http.post(self.url(path), data=data, **options) as response:
            return response.status, orjson.loads(await response.read())

    async def events(self, path: str, body: dict[str, Any], **options: Any) -> list[Any]:
        """All events of a stream, decoded; the last is the string "[DONE]" if it came."""
        data = orjson.dumps({**body, "stream": True})
        async with self.http.post(self.url(path), data=data, **options) as response:
            assert response.status == 200, await response.text()
            lines = (await response.text()).split("\n\n")
        assert lines.pop() == ""
        payloads = [line.removeprefix("data: ") for line in lines]
        return [p if p == "[DONE]" else orjson.loads(p) for p in payloads]


@dataclass
class Served(Client):
    engine: ScriptedEngine


@asynccontextmanager
async def served(
    make_engine: Callable[..., ScriptedEngine] = ScriptedEngine, **settings: Any
) -> AsyncIterator[Served]:
    """`make_engine` is `ScriptedEngine`, or `scripted(...)` with what the test wants of it."""
    engines: list[ScriptedEngine] = []

    def keep(**callbacks: Any) -> ScriptedEngine:
        engines.append(make_engine(**callbacks))
        return engines[0]

    app = create_app(settings.pop("model", MODEL), keep, **settings)
    async with serving(app) as client:
        yield Served(port=client.port, http=client.http, engine=engines[0])


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Client]:
    runner = app_runner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as http:
        try:
            await web.SockSite(runner, listener).start()
            yield Client(port=listener.getsockname()[1], http=http)
        finally:
            await runner.cleanup()


scripted = partial(partial, ScriptedEngine)
"""scripted(tokens_per_step=4): a factory for `served`."""


def samples(text: str) -> dict[tuple[str, ...], float]:
    """What a scrape shows: the value by name and the labels other than the model's."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("model_name") == "bytes"
            found[(sample.name, *labels.values())] = sample.value
    return found
