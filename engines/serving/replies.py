"""Answers in the OpenAI API's words, whole or in chunks; the two endpoints differ only here.

`token_ids` and `prompt_token_ids` stand where vLLM puts them, when asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engines.serving.generation import Piece

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyHeader:
    """What every chunk of an answer repeats."""

    request_id: str
    created: int  # Unix seconds
    model: str
    prompt_token_ids: Sequence[int] | None  # None: token ids were not asked for

    def body(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.request_id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def with_token_ids(self, choice: Json, piece: Piece) -> Json:
        return choice if self.prompt_token_ids is None else {**choice, "token_ids": piece.token_ids}


class Reply(Protocol):
    def opening(self) -> Json | None:
        """Returns a chunk before any token, where the endpoint has one."""
        ...

    def chunk(self, piece: Piece, *, is_first: bool) -> Json: ...

    def closing(self) -> Json:
        """Returns a chunk without choices, for the usage."""
        ...

    def whole(self, piece: Piece) -> Json:
        """Returns the answer to a request that does not stream; `piece` is all of it."""
        ...


@dataclass(frozen=True, slots=True)
class CompletionReply:
    header: ReplyHeader

    def opening(self) -> None:
        return None

    def chunk(self, piece: Piece, *, is_first: bool) -> Json:
        choice = {
            "index": 0,
            "text": piece.text,
            "logprobs": None,
            "finish_reason": piece.finish_reason,
        }
        choice = self.header.with_token_ids(choice, piece)
        if is_first and self.header.prompt_token_ids is not None:
            choice["prompt_token_ids"] = self.header.prompt_token_ids
        return self.header.body("text_completion", [choice])

    def closing(self) -> Json:
        return self.header.body("text_completion", [])

    def whole(self, piece: Piece) -> Json:
        return self.chunk(piece, is_first=True)


@dataclass(frozen=True, slots=True)
class ChatReply:
    header: ReplyHeader

    def opening(self) -> Json:
        delta = {"role": "assistant", "content": ""}
        choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return self._with_prompt(self.header.body("chat.completion.chunk", [choice]))

    def chunk(self, piece: Piece, *, is_first: bool) -> Json:
        choice = {
            "index": 0,
            "delta": {"content": piece.text},
            "logprobs": None,
            "finish_reason": piece.finish_reason,
        }
        choice = self.header.with_token_ids(choice, piece)
        return self.header.body("chat.completion.chunk", [choice])

    def closing(self) -> Json:
        return self.header.body("chat.completion.chunk", [])

    def whole(self, piece: Piece) -> Json:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": piece.text},
            "logprobs": None,
            "finish_reason": piece.finish_reason,
        }
        choice = self.header.with_token_ids(choice, piece)
        return self._with_prompt(self.header.body("chat.completion", [choice]))

    def _with_prompt(self, body: Json) -> Json:
        if self.header.prompt_token_ids is None:
            return body
        return {**body, "prompt_token_ids": self.header.prompt_token_ids}
