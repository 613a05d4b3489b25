"""The shape of a conversation: lengths and instants, before its content and its user exist.

Sources (the fitted generator, fixed lengths, trace files) all make these; what follows is the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from workloads.plan_parts import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnShape:
    num_new_prompt_tokens: int  # what this turn adds; the history is not in it
    num_output_tokens: int
    gap_us: int | None = None  # since the previous turn was sent, where the trace knows
    prompt_text: str | None = None  # real words; the token numbers are then estimates
    shared_block_ids: tuple[int, ...] = ()  # same id, same content, also across conversations
    messages: tuple[Message, ...] = ()  # where it is more than one user message
    num_prefix_tokens: int = 0  # of the new prompt, the system prompt that a group shares

    @property
    def num_tokens(self) -> int:
        return self.num_new_prompt_tokens + self.num_output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationShape:
    turns: tuple[TurnShape, ...]
    start_us: int | None = None  # since the trace's start, where the trace knows


Tally = Counter[str]
"""How often something was cut, skipped or estimated, by a sentence that says so."""
