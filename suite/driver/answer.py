"""What a streamed answer says: tokens and the reads they came with, usage, history, errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engines.secrets import hidden
from suite.driver.content import said_in
from suite.driver.event_json import EventError, json_object, unknown_shape
from suite.driver.faults import (
    body_message,
    error_message,
    fault_of,
    is_end,
    is_error_kind,
    unwhole,
)
from suite.driver.sse import Event, is_done
from suite.driver.usage import MAX_COUNT, Usage

_MAX_ERROR_CHARS = 300
_HEARTBEATS = ("ping", "heartbeat", "keepalive", "keep-alive")
_NOTHING = (b"", b"null", b'""', b"[]")

CountedBy = Literal["usage", "token_ids", "chunks"]


@dataclass(slots=True)
class Answer:
    """Grows event by event; `error` is one line, and the first one stays.

    Of several answers to one prompt (`n`) it is the first, with index 0."""

    token_reads: list[int] = field(default_factory=list)  # the read of each chunk with tokens
    tokens_per_chunk: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    has_token_ids: bool = True  # every chunk with tokens told their ids
    text: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    num_thought_chunks: int = 0
    has_deltas: bool = False
    has_others: bool = False  # chunks of answers with another index
    finish_reason: str | None = None
    model: str | None = None  # as the server names it, and its `system_fingerprint`
    system_fingerprint: str | None = None
    end_read: int | None = None  # that of `[DONE]`
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Says whether `[DONE]` or a finish reason was seen."""
        return self.end_read is not None or self.finish_reason is not None

    @property
    def num_prompt_tokens(self) -> int | None:
        return None if self._is_usage_empty else self.usage.num_prompt_tokens

    @property
    def num_cached_tokens(self) -> int | None:
        return None if self._is_usage_empty else self.usage.num_cached_tokens

    @property
    def num_output_tokens(self) -> int | None:
        """Returns what the server counts, without hidden ones; None where it does not, or says 0
        for an answer that has tokens, or counts other answers in."""
        told = self.usage.num_streamed_tokens(self.num_thought_chunks)
        if self.has_others or (told == 0 and self.token_reads):
            return None
        if told is not None and self.usage.num_told > 1 and told < len(self.token_reads):
            return None  # told chunk by chunk, and not added up
        return told

    @property
    def num_hidden_tokens(self) -> int | None:
        """Thought that was counted and not streamed; None where the server tells of none."""
        if self.usage.num_thought_tokens is None or self.has_others:
            return None
        return self.usage.num_hidden_tokens(self.num_thought_chunks)

    @property
    def counted_by(self) -> CountedBy | None:
        """What the number of tokens comes from; `chunks` may have held several each."""
        if not self.token_reads:
            return None
        if self.num_output_tokens is not None:
            return "usage"
        return "token_ids" if self.has_token_ids else "chunks"

    @property
    def num_coalesced(self) -> int:
        """Reads that carried more than one chunk with tokens."""
        return len(self.shared_reads)

    @property
    def shared_reads(self) -> dict[int, int]:
        """Those reads, each with the number of its chunks."""
        return {read: num for read, num in Counter(self.token_reads).items() if num > 1}

    @property
    def _is_usage_empty(self) -> bool:
        usage = self.usage
        return not usage.num_prompt_tokens and not usage.num_output_tokens

    def fail(self, message: str) -> None:
        self.error = self.error or one_line(message)

    def hide(self, secrets: Sequence[str]) -> None:
        """Takes out of what is kept of the server's words what it was told in confidence."""
        if self.error is not None:
            self.error = hidden(self.error, secrets)
        if self.finish_reason is not None:
            self.finish_reason = hidden(self.finish_reason, secrets)

    def take(self, event: Event) -> None:
        data = event.data.strip()
        if is_done(data):
            self.end_read = event.read if self.end_read is None else self.end_read
        elif data not in _NOTHING and event.kind not in _HEARTBEATS:
            try:
                self._take_chunk(event.kind, data, event.read)
            except EventError as error:
                self.fail(str(error))

    def _take_chunk(self, kind: str, data: bytes, read: int) -> None:
        try:
            chunk = json_object(data)
        except EventError:
            if not is_error_kind(kind):
                raise
            return self.fail(f"error in the stream: {body_message(data)}")
        fault = fault_of(kind, chunk)
        if fault is not None:
            self.fail(f"error in the stream: {fault}")
        self.model = self.model or _name(chunk.get("model"))
        self.system_fingerprint = self.system_fingerprint or _name(chunk.get("system_fingerprint"))
        self.usage.take(chunk)
        choice = self._first_choice(chunk.get("choices"))
        if choice is not None:
            self._take_choice(choice, read)
        return None

    def _first_choice(self, choices: Any) -> dict[str, Any] | None:
        if not choices:
            return None
        if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
            raise unknown_shape("choices", choices)
        mine = [each for each in choices if each.get("index") in (None, 0, "0")]
        self.has_others |= len(mine) < len(choices)
        return mine[0] if mine else None

    def _take_choice(self, choice: dict[str, Any], read: int) -> None:
        delta = self._delta_of(choice)
        if not isinstance(delta, dict):
            raise unknown_shape("choices[0].delta", delta)
        said = said_in(delta, "choices[0].delta" if delta is not choice else "choices[0]")
        ids = _token_ids(choice.get("token_ids"))
        self.text += said.text
        self.num_thought_chunks += said.has_thought
        num_tokens = len(ids) if ids is not None else int(said.is_output)
        if num_tokens:
            self.token_reads.append(read)
            self.tokens_per_chunk.append(num_tokens)
            if ids is None:
                self.has_token_ids = False
            else:
                self.token_ids += ids
        self._take_finish(choice.get("finish_reason") or delta.get("finish_reason"))

    def _delta_of(self, choice: dict[str, Any]) -> Any:
        """Returns what the chunk adds. A whole message after the chunks repeats them all."""
        delta = choice.get("delta")
        self.has_deltas |= bool(delta)
        return delta or ({} if self.has_deltas else choice.get("message")) or choice

    def _take_finish(self, reason: Any) -> None:
        words = None
        if isinstance(reason, dict):  # SGLang's own: {"type": "abort", "message": "…"}
            words = error_message(reason) if reason.get("message") else None
            reason = reason.get("type", reason)
        if not reason:
            return
        if not isinstance(reason, str):
            raise unknown_shape("choices[0].finish_reason", reason)
        if not is_end(reason):
            return
        self.finish_reason = reason
        fault = unwhole(reason)
        if fault is not None:
            self.fail(fault if words is None else f"{fault}: {words}")


def _token_ids(value: Any) -> list[int] | None:
    """Checks them. Raises EventError; ids are what the records and the history have room for."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise unknown_shape("choices[0].token_ids", value)
    for token_id in value:
        if type(token_id) is not int or not 0 <= token_id <= MAX_COUNT:
            raise unknown_shape("choices[0].token_ids", value)
    return value


def _name(value: Any) -> str | None:
    """Returns what a server calls itself or its model; None for what is no name."""
    return one_line(value) if isinstance(value, str) and value.strip() else None


def one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _MAX_ERROR_CHARS else line[: _MAX_ERROR_CHARS - 1] + "…"
