"""How a request's tokens are chosen, in the words of the OpenAI API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen, in the OpenAI API's words."""

    max_tokens: int
    min_tokens: int = 0  # end-of-sequence tokens are masked before this many
    temperature: float = 0.0  # 0 = greedy
    top_k: int = 0  # 0 = off
    top_p: float = 1.0
    seed: int = 0  # with the output index it fixes the draw, whatever happens on the way
    ignore_eos: bool = False
    eos_token_ids: frozenset[int] = frozenset()
