"""Token ids for what is said, where only its length is known."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from workloads.distributions import Stream
from workloads.plan_parts import TokenIds
from workloads.shapes import ConversationShape, TurnShape
from workloads.spec_conversations import ConversationsSpec
from workloads.traces.mooncake import BLOCK_TOKENS


class PromptContent:
    """Token ids for conversations of which only the lengths are known."""

    def __init__(self, spec: ConversationsSpec, seed: int) -> None:
        self._seed = seed
        self._low, self._high = spec.token_ids
        self._block_tokens = ceil(BLOCK_TOKENS * spec.length_scale)
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
        if turn.shared_block_ids:
            own = self._shared(turn.shared_block_ids)[:num_own]
        else:
            own = self._drawn(stream, num_own)
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

    def _shared(self, block_ids: Sequence[int]) -> TokenIds:
        """Returns tokens for the blocks of a prompt: equal ids give equal tokens. They are enough
        for the prompt, as scaled block sizes round up."""
        return np.concatenate([self._block(block_id) for block_id in block_ids])

    def _block(self, block_id: int) -> TokenIds:
        if block_id not in self._blocks:
            stream = Stream(self._seed, f"block/{block_id}")
            self._blocks[block_id] = self._drawn(stream, self._block_tokens)
        return self._blocks[block_id]

    def _drawn(self, stream: Stream, num: int) -> TokenIds:
        return stream.integers(self._low, self._high, num).astype(np.int32)
