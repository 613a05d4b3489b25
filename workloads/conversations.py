"""Which conversations are held: from a source, scaled, kept inside the limits, with their content.

Nothing is cut in silence: each cut, skip or raise is counted in the tally.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice, repeat
from math import ceil
from pathlib import Path

import numpy as np

from workloads.distributions import Stream
from workloads.errors import TraceError, WorkloadError
from workloads.plan_parts import TokenIds
from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.sharegpt_like import sharegpt_like_conversations
from workloads.spec_traffic import ConversationsSpec, FixedConversations, TraceConversations
from workloads.traces import READERS
from workloads.traces.mooncake import BLOCK_TOKENS

CUT_BY_CONTEXT = "turns cut by max_context_tokens (with all that follow them)"
CUT_BY_TURNS = "turns cut by max_turns"
TOO_LONG = "conversations skipped, as their first turn exceeds max_context_tokens"
RAISED = "lengths raised to the minimum after length_scale (1 prompt, 2 output tokens)"
MIN_SCALED_PROMPT, MIN_SCALED_OUTPUT = 1, 2
CANDIDATES_PER_CONVERSATION = 100  # drawn at most, before the limits are called hopeless


def choose_conversations(
    spec: ConversationsSpec, base_directory: Path, seed: int, tally: Tally
) -> list[ConversationShape]:
    """Returns the first `count` conversations of the source that fit the limits."""
    chosen: list[ConversationShape] = []
    num_skips = 0
    for shape in _source(spec, base_directory, seed, tally):
        fitting = _limited(_scaled(shape, spec.length_scale, tally), spec, tally)
        if fitting is not None:
            chosen.append(fitting)
        else:
            num_skips += 1
        if len(chosen) == spec.count:
            break
    tally[TOO_LONG] += num_skips
    _check_number(spec, base_directory, len(chosen), num_skips)
    if spec.length_scale != 1:
        scaled = sum(len(shape.turns) for shape in chosen)
        tally[f"turns with lengths multiplied by {spec.length_scale:g}"] += scaled
    return chosen


def _source(
    spec: ConversationsSpec, base_directory: Path, seed: int, tally: Tally
) -> Iterable[ConversationShape]:
    if isinstance(spec, TraceConversations):
        in_file = Tally()
        shapes = READERS[spec.trace](_trace_path(spec, base_directory), in_file)
        tally.update({f"in the whole trace file: {what}": n for what, n in in_file.items()})
        return shapes[spec.offset :]
    most = spec.count * CANDIDATES_PER_CONVERSATION
    if isinstance(spec, FixedConversations):
        turn = TurnShape(
            num_new_prompt_tokens=spec.prompt_tokens, num_output_tokens=spec.output_tokens
        )
        return repeat(ConversationShape(turns=(turn,) * spec.turns), most)
    return islice(sharegpt_like_conversations(seed), most)


def _trace_path(spec: TraceConversations, base_directory: Path) -> Path:
    return base_directory / Path(spec.path).expanduser()  # an absolute path stays as it is


def _scaled(shape: ConversationShape, scale: float, tally: Tally) -> ConversationShape:
    if scale == 1:
        return shape
    return replace(shape, turns=tuple(_scaled_turn(turn, scale, tally) for turn in shape.turns))


def _scaled_turn(turn: TurnShape, scale: float, tally: Tally) -> TurnShape:
    prompt = max(round(turn.num_new_prompt_tokens * scale), MIN_SCALED_PROMPT)
    output = max(round(turn.num_output_tokens * scale), MIN_SCALED_OUTPUT)
    tally[RAISED] += prompt > round(turn.num_new_prompt_tokens * scale)
    tally[RAISED] += output > round(turn.num_output_tokens * scale)
    return replace(turn, num_new_prompt_tokens=prompt, num_output_tokens=output)


def _limited(
    shape: ConversationShape, spec: ConversationsSpec, tally: Tally
) -> ConversationShape | None:
    """Returns the turns before the first that would not fit; None when not even the first does."""
    kept = shape.turns[: spec.max_turns]
    num_fitting = len(kept)
    if spec.max_context_tokens is not None:
        contexts = np.cumsum([turn.num_tokens for turn in kept])
        num_fitting = int(np.searchsorted(contexts, spec.max_context_tokens, side="right"))
    if num_fitting == 0:
        return None
    tally[CUT_BY_TURNS] += len(shape.turns) - len(kept)
    tally[CUT_BY_CONTEXT] += len(kept) - num_fitting
    return replace(shape, turns=kept[:num_fitting])


def _check_number(
    spec: ConversationsSpec, base_directory: Path, num_chosen: int, num_skips: int
) -> None:
    if num_chosen == spec.count or (spec.count is None and num_chosen):
        return
    if not isinstance(spec, TraceConversations):
        raise WorkloadError(
            f"conversations.max_context_tokens fits only {num_chosen} of "
            f"{num_chosen + num_skips} conversations drawn, got {spec.max_context_tokens}; "
            f"raise it or lower conversations.length_scale"
        )
    raise TraceError(
        f"{_trace_path(spec, base_directory)}: conversations.count must be ≤ the {num_chosen} "
        f"conversations from offset {spec.offset} on that fit, got {spec.count or 'all'} "
        f"({num_skips} exceed max_context_tokens)"
    )


class PromptContent:
    """Token ids for conversations of which only the lengths are known."""

    def __init__(self, spec: ConversationsSpec, seed: int) -> None:
        self._seed = seed
        self._low, self._high = spec.token_ids
        self._block_tokens = ceil(BLOCK_TOKENS * spec.length_scale)
        self._blocks: dict[int, TokenIds] = {}

    def of(self, shape: ConversationShape, index: int) -> list[TokenIds]:
        """Returns one array of token ids a turn; `index` is the conversation's place in the
        plan."""
        stream = Stream(self._seed, f"content/{index}")
        return [
            self._shared(turn.shared_block_ids)[: turn.num_new_prompt_tokens]
            if turn.shared_block_ids
            else self._drawn(stream, turn.num_new_prompt_tokens)
            for turn in shape.turns
        ]

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
