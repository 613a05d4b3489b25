"""What a streamed answer says: tokens and the reads they came with, usage, history, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from suite.driver.http1 import Response
from suite.driver.sse import Event, events

_MAX_ERROR_CHARS = 300


@dataclass(slots=True)
class Answer:
    """Grows event by event; `error` is one line, and the first one stays."""

    token_reads: list[int] = field(default_factory=list)  # the read of each chunk with tokens
    tokens_per_chunk: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    has_token_ids: bool = True  # every chunk with tokens told their ids
    text: list[str] = field(default_factory=list)
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_output_tokens: int | None = None
    finish_reason: str | None = None
    is_done: bool = False  # `[DONE]` or a finish reason was seen
    error: str | None = None

    @property
    def num_coalesced(self) -> int:
        """Reads that carried more than one chunk with tokens."""
        reads = self.token_reads
        repeated = {now for before, now in pairwise(reads) if before == now}
        return len(repeated)

    def fail(self, message: str) -> None:
        self.error = self.error or one_line(message)

    def take(self, event: Event) -> None:
        data = event.data.strip()
        if data == b"[DONE]":
            self.is_done = True
        if data in (b"", b"[DONE]"):  # without a word: a heartbeat
            return None
        try:
            chunk = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            return self.fail(f"an event is not JSON: {event.data[:80].decode(errors='replace')!r}")
        if not isinstance(chunk, dict):
            return self.fail(f"an event is not a JSON object: {event.data[:80]!r}")
        if event.kind == "error" or chunk.get("error"):
            return self.fail(f"error in the stream: {error_message(chunk)}")
        if chunk.get("usage"):
            self._take_usage(chunk["usage"])
        if chunk.get("choices"):
            self._take_choice(chunk["choices"][0], event.read)
        return None

    def _take_choice(self, choice: dict[str, Any], read: int) -> None:
        if choice.get("finish_reason"):
            self.finish_reason = _text(choice["finish_reason"])
            self.is_done = True
        delta = choice.get("delta") or choice
        content = _text(delta.get("content") or delta.get("text") or "")
        # Thought is output too; some servers say `reasoning_content`, others `reasoning`.
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        ids = choice.get("token_ids")
        if ids is not None:
            ids = [_count(token_id) for token_id in ids]
        has_output = bool(content or thought or delta.get("tool_calls"))
        num_tokens = len(ids) if ids is not None else int(has_output)
        if content:
            self.text.append(content)
        if num_tokens:
            self.token_reads.append(read)
            self.tokens_per_chunk.append(num_tokens)
            if ids is None:
                self.has_token_ids = False
            else:
                self.token_ids.extend(ids)

    def _take_usage(self, usage: dict[str, Any]) -> None:
        details = usage.get("prompt_tokens_details") or {}
        self.num_prompt_tokens = _optional_count(usage.get("prompt_tokens"))
        self.num_output_tokens = _optional_count(usage.get("completion_tokens"))
        self.num_cached_tokens = _optional_count(details.get("cached_tokens"))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _count(value: Any) -> int:
    """Also of token ids: what the records and the history have room for."""
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise TypeError(value)
    return value


def _optional_count(value: Any) -> int | None:
    return None if value is None else _count(value)


def read_answer(response: Response, answer: Answer) -> Iterator[None]:
    """Fills `answer`, one event per step, so that a caller can do other things in between."""
    if response.status != 200:
        if response.status:
            answer.fail(_refusal(response))
        return
    content_type = response.headers.get("content-type", "")
    if "text/event-stream" not in content_type:
        answer.fail(f"expected an event stream, got {content_type!r}: {_body_message(response)}")
        return
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        answer.fail(f"the stream is compressed ({encoding}), which was not asked for")
        return
    for event in events(response):
        try:
            answer.take(event)
        except (AttributeError, TypeError, KeyError):
            answer.fail(f"an event has an unknown shape: {event.data[:80]!r}")
        yield


def _refusal(response: Response) -> str:
    line = f"{response.status} {response.reason}".strip()
    wait = response.headers.get("retry-after")
    return f"{line}: {_body_message(response)}" + (f" (Retry-After: {wait})" if wait else "")


def _body_message(response: Response) -> str:
    body = response.body()
    try:
        return error_message(orjson.loads(body))
    except orjson.JSONDecodeError:
        return body[:_MAX_ERROR_CHARS].decode(errors="replace")


def error_message(body: Any) -> str:
    """OpenAI's `{"error": {"message": …}}`, and the variants that servers send instead."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return error if isinstance(error, str) else orjson.dumps(error).decode()


def one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _MAX_ERROR_CHARS else line[: _MAX_ERROR_CHARS - 1] + "…"
