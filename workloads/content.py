"""Token ids for what is said, where only its length is known."""

from __future__ import annotations

from math import ceil

import numpy as np

from workloads.distributions import Stream, hashed_uniforms
from workloads.plan_parts import TokenIds
from workloads.shapes import ConversationShape, TurnShape
from workloads.spec_conversations import ConversationsSpec

SMALL_BLOCK = 128  # tokens; there are too many of smaller ones to keep, or to draw one by one


class PromptContent:
    """Token ids for conversations of which only the lengths are known."""

    def __init__(self, spec: ConversationsSpec, seed: int) -> None:
        self._seed = seed
        self._low, self._high = spec.token_ids
        self._scale = spec.length_scale
        self._blocks: dict[int, TokenIds] = {}
        self._num_groups = spec.shared_prefix.groups if spec.shared_prefix else 1
        self._prefixes: dict[int, TokenIds] = {}

    def of(self, shape: ConversationShape, index: int) -> list[TokenIds]:
        """Returns one array of token ids a turn; `index` is the conversation's place in the
        plan."""
        stream = Stream(self._seed, f"content/{index}")
        return [self._of_turn(turn, stream, index) for turn in shape.turns]

    def _of_turn(self, turn: TurnShape, stream: Stream, index: int) -> TokenIds:
        num_own = turn.num_new_prompt_tokens - turn.num_prefix_tokens
        own = self._shared(turn)[:num_own]
        if len(own) < num_own:
            own = np.concatenate([own, self._drawn(stream, num_own - len(own))])
        if not turn.num_prefix_tokens:
            return own
        return np.concatenate([self._prefix(index, turn.num_prefix_tokens), own])

    def _prefix(self, index: int, num_tokens: int) -> TokenIds:
        """Returns the system prompt of the conversation's group, which is drawn for each."""
        which = Stream(self._seed, f"prefix-group/{index}").integers(0, self._num_groups, 1)
        group = int(which[0])
        if group not in self._prefixes:
            stream = Stream(self._seed, f"prefix/{group}")
            self._prefixes[group] = self._drawn(stream, num_tokens)
        return self._prefixes[group]

    def _shared(self, turn: TurnShape) -> TokenIds:
        """Returns tokens for the blocks of a prompt: equal ids give equal tokens. Scaled block
        sizes round up, so that blocks for the whole prompt are enough."""
        ids, num = turn.shared_block_ids, ceil(turn.block_tokens * self._scale)
        if not ids:
            return np.empty(0, dtype=np.int32)
        if turn.block_tokens < SMALL_BLOCK:
            uniforms = hashed_uniforms(self._seed, "block", np.asarray(ids), num).ravel()
            return (self._low + np.floor(uniforms * (self._high - self._low))).astype(np.int32)
        return np.concatenate([self._block(block_id, num) for block_id in ids])

    def _block(self, block_id: int, num_tokens: int) -> TokenIds:
        if block_id not in self._blocks:
            stream = Stream(self._seed, f"block/{block_id}")
            self._blocks[block_id] = self._drawn(stream, num_tokens)
        return self._blocks[block_id]

    def _drawn(self, stream: Stream, num: int) -> TokenIds:
        return stream.integers(self._low, self._high, num).astype(np.int32)
