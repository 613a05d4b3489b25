"""A server with known ways: what it takes, refuses, counts and tells of itself."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BLOCK = 16


@dataclass(kw_only=True)
class Ways:
    """What the server does; by default all that can be asked of it."""

    apis: tuple[str, ...] = ("chat", "completions")
    refuses: frozenset[str] = frozenset()
    heeds: frozenset[str] = frozenset({"ignore_eos", "min_tokens", "cache_salt"})
    own_length: int = 5  # of an answer that nobody keeps from ending
    template_tokens: int = 11
    tokens_per_word: int = 1
    tells_usage: bool = True
    tells_cached: bool = True
    returns_ids: bool = True
    tokens_per_chunk: int = 1
    is_buffering: bool = False
    keeps_alive: bool = True
    hangs: bool = False
    counters: str | None = "vllm:num_requests_running 0.0\n"
    owner: str = "vllm"
    pages: dict[str, Any] = field(default_factory=lambda: {"/version": {"version": "0.32.0"}})


@contextmanager
def server(ways: Ways) -> Iterator[str]:
    cache: set[tuple[str, ...]] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            model = {"id": "m", "owned_by": ways.owner, "max_model_len": 777}
            pages = {"/v1/models": {"data": [model]}, **ways.pages}
            if self.path == "/metrics" and ways.counters is not None:
                self._reply(200, ways.counters.encode())
            elif self.path in pages:
                self._reply(200, json.dumps(pages[self.path]).encode())
            else:
                self._reply(404, b"{}")

        def do_POST(self) -> None:
            with contextlib.suppress(ConnectionError):  # nobody waits for ever
                self._answer()

        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api = "chat" if self.path.endswith("/chat/completions") else "completions"
            refused = sorted(ways.refuses & body.keys())
            if ways.hangs:
                time.sleep(1.0)
            if api not in ways.apis:
                self._reply(404, b'{"detail": "Not Found"}')
            elif refused:
                said = {"error": {"message": f"unknown field: {refused[0]}"}}
                self._reply(400, json.dumps(said).encode())
            else:
                self._stream(body, api)

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, body: dict[str, Any], api: str) -> None:
            tokens = _tokens(body, ways)
            num_cached = _found(cache, tokens, str(body.get("cache_salt", "")), ways)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            events = [*_chunks(body, api, ways), *_usage(body, tokens, num_cached, ways)]
            content = [f"data: {json.dumps(each)}\n\n".encode() for each in events]
            content.append(b"data: [DONE]\n\n")
            if ways.is_buffering:
                content = [b"".join(content)]
            for each in content:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(each), each))
                self.wfile.flush()
                time.sleep(0.001)
            self.wfile.write(b"0\r\n\r\n")
            self.close_connection = not ways.keeps_alive

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def _tokens(body: dict[str, Any], ways: Ways) -> list[str]:
    if "messages" in body:
        added = ["<t>"] * ways.template_tokens
        return added + body["messages"][0]["content"].split() * ways.tokens_per_word
    prompt = body["prompt"]
    if isinstance(prompt, list):
        return [str(each) for each in prompt]
    return prompt.split() * ways.tokens_per_word


def _found(cache: set[tuple[str, ...]], tokens: list[str], salt: str, ways: Ways) -> int:
    """Returns how many tokens whole blocks of the cache hold; keeps the prompt's."""
    key = [salt if "cache_salt" in ways.heeds else ""]
    found = 0
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        if tuple(key + tokens[:end]) in cache and found == end - BLOCK:
            found = end
        cache.add(tuple(key + tokens[:end]))
    return found


def _chunks(body: dict[str, Any], api: str, ways: Ways) -> Iterator[dict[str, Any]]:
    wants_all = "ignore_eos" in ways.heeds and body.get("ignore_eos")
    wants_all = wants_all or ("min_tokens" in ways.heeds and body.get("min_tokens"))
    num = body["max_tokens"] if wants_all else min(ways.own_length, body["max_tokens"])
    if "OK" not in json.dumps(body):  # only a short answer ends early
        num = body["max_tokens"]
    for first in range(0, num, ways.tokens_per_chunk):
        few = min(ways.tokens_per_chunk, num - first)
        choice: dict[str, Any] = {"index": 0}
        text = " w" * few
        choice |= {"delta": {"content": text}} if api == "chat" else {"text": text}
        if ways.returns_ids and body.get("return_token_ids"):
            choice["token_ids"] = [7] * few
        yield {"model": "m-as-served", "system_fingerprint": "fp_1", "choices": [choice]}
    end = "length" if num == body["max_tokens"] else "stop"
    yield {"choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": end}]}


def _usage(
    body: dict[str, Any], tokens: list[str], num_cached: int, ways: Ways
) -> Iterator[dict[str, Any]]:
    if not ways.tells_usage:
        return
    wants_all = body.get("ignore_eos") or body.get("min_tokens") or "OK" not in json.dumps(body)
    num = body["max_tokens"] if wants_all else min(ways.own_length, body["max_tokens"])
    told: dict[str, Any] = {"prompt_tokens": len(tokens), "completion_tokens": num}
    if ways.tells_cached:
        told["prompt_tokens_details"] = {"cached_tokens": num_cached}
    yield {"choices": [], "usage": told}
