"""The shape of a conversation: lengths and instants, before its content and its user exist.

Sources (the fitted generator, fixed lengths, trace files) all make these; what follows is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workloads.plan_parts import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnShape:
    num_new_prompt_tokens: int  # what this turn adds; the history is not in it
    num_output_tokens: int
    gap_us: int | None = None  # since the previous turn was sent, where the trace knows
    prompt_text: str | None = None  # real words; the token numbers are then estimates
    shared_block_ids: Sequence[int] = ()  # same id, same content, also across conversations
    block_tokens: int = 0  # how many a block has
    messages: tuple[Message, ...] = ()  # where it is more than one user message
    replaces_system: bool = False  # its system messages take the place of those at the front
    waits_for_branches: bool = False  # asked once all that branched off before it have ended
    delay_us: int | None = None  # from the previous answer, whatever the think times are
    num_prefix_tokens: int = 0  # of the new prompt, the system prompt that a group shares

    @property
    def num_tokens(self) -> int:
        return self.num_new_prompt_tokens + self.num_output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchShape:
    """A conversation that begins when a turn of another one has been answered."""

    after_turn: int  # of the conversation it leaves
    conversation: ConversationShape  # its first turn's delay or gap is from that answer on
    keeps_history: bool = True  # it goes on from what was said; else it starts from nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationShape:
    turns: tuple[TurnShape, ...]
    start_us: int | None = None  # since the trace's start, where the trace knows
    branches: tuple[BranchShape, ...] = ()

    def session(self) -> Iterator[ConversationShape]:
        """Yields the conversation, and all that come of it."""
        yield self
        for each in self.branches:
            yield from each.conversation.session()


Tally = Counter[str]
"""How often something was cut, skipped or estimated, by a sentence that says so."""
