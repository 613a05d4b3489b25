"""The OpenAI-compatible API over one engine: routes, keys, and what each endpoint does."""

from __future__ import annotations

import hmac
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from importlib import metadata

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST

from engines.core.request import FinishReason, Request
from engines.serving.admission import Admission, ServedModel
from engines.serving.engine_bridge import EngineBridge, EngineFactory
from engines.serving.errors import ApiError, Handler, answer_errors
from engines.serving.generation import Generation, Piece
from engines.serving.metrics import ServerMetrics
from engines.serving.replies import ChatReply, CompletionReply, Reply, ReplyHeader
from engines.serving.schemas import (
    ChatBody,
    CompletionBody,
    GenerationBody,
    StreamOptions,
    parse,
    prompt_of,
)
from engines.serving.streaming import EventStream, TokenStream

BRIDGE = web.AppKey("bridge", EngineBridge)
MAX_BODY_BYTES = 16 * 1024**2  # a million token ids with their commas take 7
_OPEN_PATHS = ("/health", "/metrics")  # what probes and scrapers ask, as with vLLM
MAX_UNREAD_BYTES = 256 * 1024  # about a thousand tokens that a stream's reader has not taken


def create_app(
    model: ServedModel,
    make_engine: EngineFactory,
    *,
    api_key: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    rng: random.Random | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_unread_bytes: int = MAX_UNREAD_BYTES,
    max_live: int | None = None,
) -> web.Application:
    """Returns the application, with which the engine starts and ends; `clock` must be the engine's.
    Of more than `max_live` requests at a time the others are refused."""
    bridge = EngineBridge(make_engine, max_live=max_live)
    api = Api(
        model,
        bridge,
        Admission(model, rng=rng or random.Random()),
        clock=clock,
        max_unread_bytes=max_unread_bytes,
    )
    middlewares = [answer_errors] if api_key is None else [answer_errors, _require(api_key)]
    app = web.Application(middlewares=middlewares, client_max_size=max_body_bytes)
    app[BRIDGE] = bridge
    app.add_routes(api.routes())
    app.cleanup_ctx.append(_run_engine)
    app.on_shutdown.append(_end_generations)
    return app


class Api:
    def __init__(
        self,
        model: ServedModel,
        bridge: EngineBridge,
        admission: Admission,
        *,
        clock: Callable[[], float],
        max_unread_bytes: int,
    ) -> None:
        self._model = model
        self._bridge = bridge
        self._admission = admission
        self._clock = clock
        self._max_unread_bytes = max_unread_bytes
        self._metrics = ServerMetrics(bridge.stats, model_name=model.name)
        self._created = int(time.time())

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.health),
            web.get("/metrics", self.metrics),
            web.get("/version", self.version),
            web.get("/v1/models", self.list_models),
            web.get("/v1/models/{name:.+}", self.show_model),
            web.post("/v1/completions", self.complete),
            web.post("/v1/chat/completions", self.chat),
        ]

    async def health(self, _: web.Request) -> web.Response:
        self._bridge.check_open()
        return web.json_response({"status": "ok"})

    async def metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._metrics.exposition(), headers=headers)

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": metadata.version("fsbench")})

    async def list_models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._model_card()]})

    async def show_model(self, request: web.Request) -> web.Response:
        self._admission.check_model(request.match_info["name"])
        return web.json_response(self._model_card())

    async def complete(self, http: web.Request) -> web.StreamResponse:
        arrived_at = self._clock()
        body = parse(await _json(http), CompletionBody)
        self._admission.check_model(body.model)
        prompt = await self._admission.prompt_token_ids(prompt_of(body.prompt))
        request = self._admission.request(
            body,
            prompt,
            request_id=f"cmpl-{uuid.uuid4().hex}",
            arrived_at=arrived_at,
            headers=http.headers,
        )
        return await self._answer(http, body, request, CompletionReply(self._header(body, request)))

    async def chat(self, http: web.Request) -> web.StreamResponse:
        arrived_at = self._clock()
        body = parse(await _json(http), ChatBody)
        self._admission.check_model(body.model)
        request = self._admission.request(
            body,
            await self._admission.chat_token_ids(body.messages),
            request_id=f"chatcmpl-{uuid.uuid4().hex}",
            arrived_at=arrived_at,
            headers=http.headers,
        )
        return await self._answer(http, body, request, ChatReply(self._header(body, request)))

    async def _answer(
        self, http: web.Request, body: GenerationBody, request: Request, reply: Reply
    ) -> web.StreamResponse:
        # Taken before the first await, or many could find the last place free.
        self._bridge.reserve(request.request_id)
        try:
            return await self._answer_in_place(http, body, request, reply)
        finally:
            self._bridge.release(request.request_id)

    async def _answer_in_place(
        self, http: web.Request, body: GenerationBody, request: Request, reply: Reply
    ) -> web.StreamResponse:
        if body.stream:
            return await self._stream(http, body, request, reply)
        pieces: list[Piece] = []
        generation = self._generation(body, request, lambda piece, _: pieces.append(piece))
        await self._run(generation)
        whole = {**reply.whole(_joined(pieces)), "usage": generation.usage()}
        return web.Response(body=orjson.dumps(whole), content_type="application/json")

    async def _stream(
        self, http: web.Request, body: GenerationBody, request: Request, reply: Reply
    ) -> web.StreamResponse:
        events = EventStream(http, max_unread_bytes=self._max_unread_bytes)
        tokens = TokenStream(events, reply, body.stream_options or StreamOptions())
        generation = self._generation(body, request, tokens.write)
        await events.open()
        tokens.begin()
        try:
            await self._run(generation)
        except ApiError as error:
            tokens.fail(error)
        return await events.close()

    async def _run(self, generation: Generation) -> None:
        """Serves a request until its last token. Cancelled (the client is gone), it aborts the
        request."""
        self._bridge.submit(generation)
        try:
            await generation.done
        finally:
            self._bridge.release(generation.request.request_id)
        self._metrics.record_finished(generation, self._clock())

    def _generation(
        self,
        body: GenerationBody,
        request: Request,
        deliver: Callable[[Piece, Generation], None],
    ) -> Generation:
        return Generation(
            request,
            detokenizer=self._model.make_detokenizer(),
            stops=body.stop,
            deliver=deliver,
            clock=self._clock,
        )

    def _header(self, body: GenerationBody, request: Request) -> ReplyHeader:
        return ReplyHeader(
            request_id=request.request_id,
            created=int(time.time()),
            model=self._model.name,
            prompt_token_ids=request.prompt_token_ids if body.return_token_ids else None,
        )

    def _model_card(self) -> dict[str, object]:
        return {
            "id": self._model.name,
            "object": "model",
            "created": self._created,
            "owned_by": "fsbench",
            "max_model_len": self._model.max_context_tokens,
        }


async def _json(http: web.Request) -> bytes:
    """The body of a request that says it is JSON; another kind is refused before it is read."""
    if http.content_type != "application/json":
        given = http.headers.get("Content-Type", "none")
        raise ApiError(
            f"Content-Type must be application/json, got {given[:80]}; send that header",
            status=415,
        )
    return await http.read()


def _joined(pieces: list[Piece]) -> Piece:
    last: FinishReason | None = pieces[-1].finish_reason
    return Piece(
        text="".join(piece.text for piece in pieces),
        token_ids=[token_id for piece in pieces for token_id in piece.token_ids],
        finish_reason=last,
    )


def _require(api_key: str) -> Middleware:
    """Guards everything but the probes."""
    expected = f"Bearer {api_key}".encode()

    @web.middleware
    async def check_key(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if request.path not in _OPEN_PATHS and not hmac.compare_digest(given, expected):
            raise ApiError(
                "the API key is missing or wrong; send `Authorization: Bearer KEY`",
                status=401,
                code="invalid_api_key",
            )
        return await handler(request)

    return check_key


async def _run_engine(app: web.Application) -> AsyncIterator[None]:
    await app[BRIDGE].start()
    yield
    await app[BRIDGE].stop()


async def _end_generations(app: web.Application) -> None:
    app[BRIDGE].refuse_new("the server is shutting down; retry elsewhere or later")
