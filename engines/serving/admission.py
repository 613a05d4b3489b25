"""From a request body to an engine request: tokens, limits, sampling. Nothing is truncated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.promise import Promise
from engines.serving.chat_template import ChatTemplateError
from engines.serving.errors import ApiError
from engines.serving.generation import IncrementalDetokenizer
from engines.serving.schemas import ChatMessage, GenerationBody
from engines.serving.terms import conversation_of, terms_of

_LONG_TEXT = 16_384  # characters; from here on encoding would hold up the other streams' tokens

T = TypeVar("T")


class ServedTokenizer(Protocol):
    @property
    def eos_token_ids(self) -> frozenset[int]: ...
    def encode(self, text: str, /) -> list[int]: ...
    def apply_chat_template(self, messages: Sequence[dict[str, str]], /) -> list[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    name: str
    tokenizer: ServedTokenizer
    make_detokenizer: Callable[[], IncrementalDetokenizer]
    max_context_tokens: int  # prompt and answer together
    vocab_size: int
    promises: Mapping[str, Promise] = field(default_factory=dict)  # to each class of users


class Admission:
    def __init__(self, model: ServedModel, *, rng: random.Random) -> None:
        self._model = model
        self._rng = rng  # seeds of requests that bring none

    def check_model(self, name: str | None) -> None:
        """Raises ApiError for any other model; naming none means the one there is."""
        if name is not None and name != self._model.name:
            raise ApiError(
                f"model {name!r} is not served here; use {self._model.name!r}",
                status=404,
                param="model",
                code="model_not_found",
            )

    async def prompt_token_ids(self, prompt: str | list[int]) -> list[int]:
        """Returns the prompt of a completion as token ids. Raises ApiError."""
        if isinstance(prompt, str):
            prompt = await _off_loop_if_long(self._model.tokenizer.encode, prompt, len(prompt))
        elif prompt and not 0 <= min(prompt) <= max(prompt) < self._model.vocab_size:
            wrong = next(i for i in prompt if not 0 <= i < self._model.vocab_size)
            raise ApiError(
                f"prompt: token ids must be from 0 to {self._model.vocab_size - 1}, got {wrong}",
                param="prompt",
            )
        if not prompt:
            raise ApiError("prompt must have at least one token, got none", param="prompt")
        return prompt

    async def chat_token_ids(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Raises ApiError when the model's chat template refuses the messages."""
        plain = [message.plain() for message in messages]
        num_chars = sum(len(message["content"]) for message in plain)
        apply = self._model.tokenizer.apply_chat_template
        try:
            return await _off_loop_if_long(apply, plain, num_chars)
        except ChatTemplateError as error:
            raise ApiError(f"messages: {error}", param="messages") from None

    def request(
        self,
        body: GenerationBody,
        prompt_token_ids: list[int],
        *,
        request_id: str,
        arrived_at: float,
        headers: Mapping[str, str],
    ) -> Request:
        """Raises ApiError: prompt and answer do not fit the context, or body and headers disagree
        on who asks."""
        return Request(
            request_id=request_id,
            prompt_token_ids=prompt_token_ids,
            sampling=self._sampling(body, self._max_tokens(body, len(prompt_token_ids))),
            arrived_at=arrived_at,
            priority=body.priority,
            conversation_id=conversation_of(body, headers),
            terms=terms_of(body, headers, self._model.promises),
        )

    def _max_tokens(self, body: GenerationBody, num_prompt: int) -> int:
        limit = self._model.max_context_tokens
        left = limit - num_prompt
        if left < 1:
            raise _too_long(
                f"the prompt has {num_prompt} tokens, which leaves none of the context's {limit} "
                "for the answer; shorten the prompt"
            )
        wanted = body.requested_max_tokens
        if wanted is None:
            return left if body.default_max_tokens is None else min(body.default_max_tokens, left)
        if wanted > left:
            raise _too_long(
                f"prompt {num_prompt} + max_tokens {wanted} = {num_prompt + wanted} tokens, the "
                f"context has {limit}; shorten the prompt or ask for at most {left} tokens"
            )
        return wanted

    def _sampling(self, body: GenerationBody, max_tokens: int) -> SamplingParams:
        if body.min_tokens > max_tokens:
            raise ApiError(
                f"min_tokens must be <= max_tokens {max_tokens}, got {body.min_tokens}",
                param="min_tokens",
            )
        return SamplingParams(
            max_tokens=max_tokens,
            min_tokens=body.min_tokens,
            temperature=body.temperature,
            top_k=max(0, body.top_k),
            top_p=body.top_p,
            seed=self._rng.getrandbits(63) if body.seed is None else body.seed,
            ignore_eos=body.ignore_eos,
            eos_token_ids=self._model.tokenizer.eos_token_ids,
        )


async def _off_loop_if_long(
    encode: Callable[[T], list[int]], value: T, num_chars: int
) -> list[int]:
    if num_chars < _LONG_TEXT:
        return encode(value)
    return await asyncio.to_thread(encode, value)


def _too_long(message: str) -> ApiError:
    return ApiError(message, code="context_length_exceeded")
