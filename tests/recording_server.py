"""A small OpenAI-compatible server over a real socket that keeps every request it gets, whole: its
line, its headers, its body. Its tokens are what it is told to count."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TokensOf = Callable[[dict[str, Any]], int]  # of a request's body


@dataclass(frozen=True, slots=True)
class Got:
    method: str
    path: str  # with its query
    headers: dict[str, str]  # names in small letters
    body: dict[str, Any] | None


def words_of(body: dict[str, Any]) -> int:
    """Counts a word as a token, as most tokenizers do."""
    said = body.get("messages") or [{"content": body.get("prompt", "")}]
    return sum(len(str(each["content"]).split()) for each in said)


@dataclass(slots=True)
class RecordingServer:
    base_url: str = ""
    got: list[Got] = field(default_factory=list)
    models: list[str] = field(default_factory=lambda: ["recorder"])
    tokens_of: TokensOf = words_of
    tells_usage: bool = True
    refusal: Callable[[Got], tuple[int, str] | None] = lambda _: None
    ready_at: float = 0.0  # CLOCK_MONOTONIC; 503 before

    @property
    def asked(self) -> list[Got]:
        """The requests of the load."""
        return [each for each in self.got if each.path.partition("?")[0].endswith("completions")]

    @property
    def looks(self) -> list[Got]:
        return [each for each in self.got if each not in self.asked]


def _events(server: RecordingServer, body: dict[str, Any], is_chat: bool) -> Iterator[bytes]:
    num = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
    for _ in range(num):
        choice: dict[str, Any] = {"index": 0, "finish_reason": None}
        choice |= {"delta": {"content": " so"}} if is_chat else {"text": " so"}
        yield _event({"choices": [choice]})
    yield _event({"choices": [{"index": 0, "finish_reason": "length", "delta": {}, "text": ""}]})
    if server.tells_usage:
        usage = {"prompt_tokens": server.tokens_of(body), "completion_tokens": num}
        yield _event({"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _handler(server: RecordingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            got = self._take(None)
            if self._refused(got):
                return
            if got.path.partition("?")[0].endswith("/models"):
                self._json(200, {"data": [{"id": name} for name in server.models]})
            else:
                self._json(404, {"error": {"message": "no such page"}})

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            got = self._take(json.loads(self.rfile.read(length) or b"null"))
            if self._refused(got):
                return
            is_chat = "/chat/" in got.path
            if not got.path.partition("?")[0].endswith("completions"):
                self._json(404, {"error": {"message": "no such page"}})
                return
            content = b"".join(_events(server, got.body or {}, is_chat))
            self._send(200, "text/event-stream", content)

        def _take(self, body: Any) -> Got:
            headers = {name.lower(): value for name, value in self.headers.items()}
            got = Got(self.command, self.path, headers, body)
            server.got.append(got)
            return got

        def _refused(self, got: Got) -> bool:
            if time.monotonic() < server.ready_at:
                self._json(503, {"error": {"message": "loading"}})
                return True
            refusal = server.refusal(got)
            if refusal is not None:
                self._json(refusal[0], {"error": {"message": refusal[1]}})
            return refusal is not None

        def _json(self, status: int, value: object) -> None:
            self._send(status, "application/json", json.dumps(value).encode())

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked need not wait for it
                self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    return Handler


@contextmanager
def recording_server(certificate: Path | None = None, **told: Any) -> Iterator[RecordingServer]:
    """With a certificate (key and certificate in one file, for localhost) it speaks TLS."""
    server = RecordingServer(**told)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    httpd.daemon_threads = True
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    scheme, host = ("http", "127.0.0.1") if certificate is None else ("https", "localhost")
    server.base_url = f"{scheme}://{host}:{httpd.server_port}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
