"""A server that tells the truth about itself: it streams scripted answers and writes down the
instant just before each of its writes, so that a client's stamps can be held against them.

Raw sockets, one loop: a write is on the wire when `send` returns, not some loop iteration later.
`python -m suite.driver.truthful_server --directory DIR` serves answers paced as each request's
body asks (`"script": {"first_after_s": …, "gap_s": …}`); DIR/server.json then names its port, and
DIR/truth.jsonl gets one line an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import orjson
import uvloop

_REQUEST_BYTES = 262_144
TOKEN_BASE_ID = 100
PROMPT_START = 8  # token ids, or letters


@dataclass(frozen=True, slots=True)
class Step:
    """One write of an answer."""

    after_s: float  # from the request's last byte
    data: bytes  # empty: nothing is written
    num_chunks: int = 0  # how many chunks with tokens are in it
    is_hang_up: bool = False  # close the connection after it


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    path: str
    body: dict[str, Any]
    turn: int  # how many requests of its conversation came before it

    @property
    def conversation_id(self) -> str:
        return str(self.body.get("conversation_id", ""))

    @property
    def is_chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    @property
    def num_prompt_tokens(self) -> int:
        prompt = self.body.get("prompt")
        if isinstance(prompt, list):
            return len(prompt)
        text = prompt or " ".join(m["content"] for m in self.body.get("messages", []))
        return len(text.split())


Script = Callable[[Asked], Sequence[Step]]
Page = Callable[[str], bytes | None]  # by path; None: it is an answer that is asked for


@dataclass(slots=True)
class _Truth:
    """What an answer's line in truth.jsonl says. Instants: absolute CLOCK_MONOTONIC seconds."""

    conversation_id: str
    turn: int
    received_at: float
    body: dict[str, Any]
    token_at: list[float] = field(default_factory=list)
    done_at: float | None = None


class TruthfulServer:
    def __init__(
        self, script: Script, page: Page, truth: TextIO, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._script = script
        self.page = page
        self._truth = truth
        self._loop = loop
        self._num_asked: Counter[str] = Counter()

    async def serve(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            sock, _ = await self._loop.sock_accept(listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _ServerConnection(sock, self._loop, self)

    def answer(self, path: str, content: bytes) -> tuple[Sequence[Step], _Truth]:
        received_at = time.monotonic()
        body = orjson.loads(content) if content else {}
        conversation_id = str(body.get("conversation_id", ""))
        asked = Asked(path=path, body=body, turn=self._num_asked[conversation_id])
        self._num_asked[conversation_id] += 1
        told = {"num_prompt_tokens": asked.num_prompt_tokens, **_without_prompt(body)}
        truth = _Truth(conversation_id, asked.turn, received_at, told)
        return self._script(asked), truth

    def log(self, truth: _Truth) -> None:
        self._truth.write(
            json.dumps({name: getattr(truth, name) for name in truth.__slots__}) + "\n"
        )
        self._truth.flush()


class _ServerConnection:
    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, server: TruthfulServer
    ) -> None:
        self._socket = sock
        self._loop = loop
        self._server = server
        self._received = bytearray()
        self._steps: Sequence[Step] = ()
        self._next = 0
        self._truth: _Truth | None = None
        self._timer: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(_REQUEST_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self._received += data
            self._read_request()
        else:
            self._close()

    def _read_request(self) -> None:
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end]).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:])
        end = head_end + 4 + int(fields.get("content-length", 0))
        if len(self._received) >= end:
            content = bytes(self._received[head_end + 4 : end])
            del self._received[:end]
            self._start(head[0].split(" ")[1], content)

    def _start(self, path: str, content: bytes) -> None:
        page = self._server.page(path)
        if page is not None:
            self._socket.send(page)
            return
        self._steps, self._truth = self._server.answer(path, content)
        self._next = 0
        self._wait_for_next()

    def _wait_for_next(self) -> None:
        assert self._truth is not None
        due_s = self._truth.received_at + self._steps[self._next].after_s
        self._timer = self._loop.call_later(max(0.0, due_s - time.monotonic()), self._write)

    def _write(self) -> None:
        assert self._truth is not None
        truth, step = self._truth, self._steps[self._next]
        self._next += 1
        truth.done_at = time.monotonic()
        truth.token_at += [truth.done_at] * step.num_chunks
        if self._next == len(self._steps):
            self._log()  # before the end is sent: a client that has the answer finds the truth
        try:
            num_sent = self._socket.send(step.data) if step.data else 0
        except ConnectionError:
            self._close()
            return
        assert num_sent == len(step.data), "the client does not read"
        if step.is_hang_up:
            self._close()
        elif self._next < len(self._steps):
            self._wait_for_next()

    def _log(self) -> None:
        if self._truth is not None:
            self._server.log(self._truth)
            self._truth = None

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._log()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


def head(status: str = "200 OK", *, framing: str = "Transfer-Encoding: chunked") -> bytes:
    kind = "text/event-stream" if status.startswith("200") else "application/json"
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode()


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def json_page(value: object, status: str = "200 OK") -> bytes:
    """Returns a whole answer."""
    content = orjson.dumps(value)
    start = head(status, framing=f"Content-Length: {len(content)}")
    return start.replace(b"text/event-stream", b"application/json") + content


def model_list(path: str) -> bytes | None:
    """Returns the page of that path, if it is that of the models."""
    if not path.endswith("/models"):
        return None
    return json_page({"object": "list", "data": [{"id": "truthful", "object": "model"}]})


LAST_CHUNK = b"0\r\n\r\n"


def event(value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def token_event(asked: Asked, first: int, count: int) -> bytes:
    """A chunk with output tokens [first, first + count)."""
    text = "".join(f" w{number}" for number in range(first, first + count))
    choice: dict[str, Any] = {"index": 0, "finish_reason": None}
    choice |= {"delta": {"content": text}} if asked.is_chat else {"text": text}
    if asked.body.get("return_token_ids"):
        choice["token_ids"] = [TOKEN_BASE_ID + number for number in range(first, first + count)]
    return event({"object": "chunk", "choices": [choice]})


def closing_events(
    asked: Asked,
    num_output_tokens: int,
    *,
    num_prompt_tokens: int | None = None,  # its words, unless counted otherwise
    num_cached_tokens: int | None = 0,  # None: the server does not tell
) -> bytes:
    """Returns the events with finish reason, usage and [DONE]."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
    choice |= dict[str, Any](delta={}) if asked.is_chat else {"text": ""}
    prompt = asked.num_prompt_tokens if num_prompt_tokens is None else num_prompt_tokens
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": num_output_tokens}
    if num_cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": num_cached_tokens}
    finish, total = {"choices": [choice]}, {"choices": [], "usage": usage}
    return event(finish) + event(total) + b"data: [DONE]\n\n"


def paced(asked: Asked) -> list[Step]:
    """`first_after_s`, then one token every `gap_s`, as the request's `script` says."""
    script = asked.body.get("script", {})
    first_after_s, gap_s = script.get("first_after_s", 0.05), script.get("gap_s", 0.02)
    num_tokens = asked.body["max_tokens"]
    steps = [Step(0.0, head())]
    for number in range(num_tokens):
        data = framed(token_event(asked, number, 1))
        steps.append(Step(first_after_s + number * gap_s, data, num_chunks=1))
    end_s = first_after_s + (num_tokens - 1) * gap_s
    steps.append(Step(end_s, framed(closing_events(asked, num_tokens)) + LAST_CHUNK))
    return steps


def _without_prompt(body: dict[str, Any]) -> dict[str, Any]:
    """But for its beginning, by which a request that names no conversation can be told, and for who
    speaks."""
    roles = [message["role"] for message in body.get("messages", [])]
    rest = {name: value for name, value in body.items() if name not in ("prompt", "messages")}
    return {"prompt_start": (body.get("prompt") or "")[:PROMPT_START], "roles": roles, **rest}


async def _serve(directory: Path, script: Script, page: Page) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
        (directory / "truth.jsonl").open("w") as truth,
    ):
        port = listener.getsockname()[1]
        partial = directory / "server.json.partial"
        partial.write_text(json.dumps({"port": port}))
        partial.rename(directory / "server.json")
        loop = asyncio.get_running_loop()
        await TruthfulServer(script, page, truth, loop).serve(listener)


def serve(directory: Path, script: Script, page: Page = model_list) -> None:
    """Serves until killed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(directory, script, page))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    serve(parser.parse_args().directory, paced)
