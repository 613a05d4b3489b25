"""Which conversations are held: from a source, scaled, kept inside the limits.

Nothing is cut in silence: each cut, skip or raise is counted in the tally.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from workloads.distributions import Ints
from workloads.errors import TraceError, WorkloadError
from workloads.plan_parts import Message
from workloads.plan_size import PlanSize
from workloads.shapes import BranchShape, ConversationShape, Tally, TurnShape
from workloads.sharegpt_like import sharegpt_like_conversations
from workloads.spec_conversations import (
    ConversationsSpec,
    FixedConversations,
    SyntheticConversations,
    TraceConversations,
)
from workloads.synthetic import synthetic_conversations
from workloads.traces import READERS

CUT_BY_CONTEXT = "turns cut by max_context_tokens (with all that follow them)"
CUT_BY_TURNS = "turns cut by max_turns"
TOO_LONG = "conversations skipped, as their first turn exceeds max_context_tokens"
CUT_BRANCHES = "branches cut by the limits, with what they branch off from or by themselves"
RAISED = "lengths raised to the minimum after length_scale (1 prompt, 2 output tokens)"
MIN_SCALED_PROMPT, MIN_SCALED_OUTPUT = 1, 2
CANDIDATES_PER_CONVERSATION = 100  # drawn at most, before the limits are called hopeless


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Says how many conversations are chosen."""

    count: int | None  # None: all
    span_us: float | None = None  # by the trace's own clock, from the first one's start
    why: str = ""  # begins a message where there are fewer
    is_most: bool = False  # a trace that has fewer will do


def choose_conversations(
    spec: ConversationsSpec, base_directory: Path, seed: int, tally: Tally, wanted: Wanted
) -> list[ConversationShape]:
    """Returns the first conversations of the source that fit the limits, as many as are wanted."""
    chosen: list[ConversationShape] = []
    num_skips, size = 0, PlanSize()
    in_file = Tally()
    part = "in the part of the trace file that was read"
    for shape in _source(spec, base_directory, seed, wanted.count, in_file):
        fitting = _fitting(shape, spec, tally)
        if fitting is None:
            num_skips += 1
        elif wanted.span_us is not None and not _is_within(fitting, chosen, wanted.span_us):
            break
        else:
            size.add(fitting)
            chosen.append(fitting)
        if len(chosen) == wanted.count:
            break
    else:
        part = "in the whole trace file"
    tally.update({f"{part}: {what}": n for what, n in in_file.items() if n})
    tally[TOO_LONG] += num_skips
    counted = in_file + Tally({TOO_LONG: num_skips})
    _check_number(spec, base_directory, wanted, len(chosen), counted)
    if spec.length_scale != 1:
        scaled = sum(len(each.turns) for shape in chosen for each in shape.session())
        tally[f"turns with lengths multiplied by {spec.length_scale:g}"] += scaled
    return chosen


def _source(
    spec: ConversationsSpec, base_directory: Path, seed: int, count: int | None, in_file: Tally
) -> Iterable[ConversationShape]:
    if isinstance(spec, TraceConversations):
        shapes = READERS[spec.trace](_trace_path(spec, base_directory), in_file)
        return islice(shapes, spec.offset, None)
    assert count is not None, spec  # only a trace has an end
    most = count * CANDIDATES_PER_CONVERSATION
    if isinstance(spec, FixedConversations):
        turn = TurnShape(
            num_new_prompt_tokens=spec.prompt_tokens, num_output_tokens=spec.output_tokens
        )
        return repeat(ConversationShape(turns=(turn,) * spec.turns), most)
    if isinstance(spec, SyntheticConversations):
        return islice(synthetic_conversations(spec, base_directory, seed), most)
    return islice(sharegpt_like_conversations(seed), most)


def _is_within(
    shape: ConversationShape, chosen: Sequence[ConversationShape], span_us: float
) -> bool:
    first = chosen[0] if chosen else shape
    return (shape.start_us or 0) - (first.start_us or 0) < span_us


def _fitting(
    shape: ConversationShape, spec: ConversationsSpec, tally: Tally
) -> ConversationShape | None:
    """Returns the conversation scaled, with its system prompt, and cut to the limits; None where
    nothing fits."""
    scaled = _scaled(shape, spec.length_scale, tally)
    if spec.shared_prefix is not None:
        num = max(round(spec.shared_prefix.tokens * spec.length_scale), MIN_SCALED_PROMPT)
        scaled = replace(scaled, turns=(_prefixed(scaled.turns[0], num), *scaled.turns[1:]))
    return _limited(scaled, spec, tally)


def _prefixed(turn: TurnShape, num_tokens: int) -> TurnShape:
    """Returns the turn with a system message before what it says."""
    own = turn.messages or (
        Message(role="user", num_tokens=turn.num_new_prompt_tokens, text=turn.prompt_text),
    )
    return replace(
        turn,
        num_new_prompt_tokens=num_tokens + turn.num_new_prompt_tokens,
        num_prefix_tokens=num_tokens,
        messages=(Message(role="system", num_tokens=num_tokens), *own),
        prompt_text=None,
    )


def _trace_path(spec: TraceConversations, base_directory: Path) -> Path:
    return base_directory / Path(spec.path).expanduser()  # an absolute path stays as it is


def _scaled(shape: ConversationShape, scale: float, tally: Tally) -> ConversationShape:
    if scale == 1:
        return shape
    return replace(
        shape,
        turns=tuple(_scaled_turn(turn, scale, tally) for turn in shape.turns),
        branches=tuple(
            replace(each, conversation=_scaled(each.conversation, scale, tally))
            for each in shape.branches
        ),
    )


def _scaled_turn(turn: TurnShape, scale: float, tally: Tally) -> TurnShape:
    prompt = max(round(turn.num_new_prompt_tokens * scale), MIN_SCALED_PROMPT)
    output = max(round(turn.num_output_tokens * scale), MIN_SCALED_OUTPUT)
    tally[RAISED] += prompt > round(turn.num_new_prompt_tokens * scale)
    tally[RAISED] += output > round(turn.num_output_tokens * scale)
    return replace(turn, num_new_prompt_tokens=prompt, num_output_tokens=output)


def _limited(
    shape: ConversationShape,
    spec: ConversationsSpec,
    tally: Tally,
    *,
    num_turns: int = 0,
    num_tokens: int = 0,
) -> ConversationShape | None:
    """Returns the turns before the first that would not fit; None when not even the first does.
    `num_turns` and `num_tokens`: what was said before it, where it is a branch."""
    kept = shape.turns
    if spec.max_turns is not None:
        kept = kept[: max(0, spec.max_turns - num_turns)]
    contexts = num_tokens + np.cumsum([turn.num_tokens for turn in kept], dtype=np.int64)
    num_fitting = len(kept)
    if spec.max_context_tokens is not None:
        num_fitting = int(np.searchsorted(contexts, spec.max_context_tokens, side="right"))
    if num_fitting == 0:
        return None
    tally[CUT_BY_TURNS] += len(shape.turns) - len(kept)
    tally[CUT_BY_CONTEXT] += len(kept) - num_fitting
    branches = [
        _limited_branch(each, spec, tally, num_turns, contexts[:num_fitting])
        for each in shape.branches
    ]
    fitting = tuple(each for each in branches if each is not None)
    return replace(shape, turns=kept[:num_fitting], branches=fitting)


def _limited_branch(
    branch: BranchShape, spec: ConversationsSpec, tally: Tally, num_turns: int, contexts: Ints
) -> BranchShape | None:
    """Returns what fits of a branch; `contexts`: tokens after each turn that is left of what it
    leaves."""
    found: ConversationShape | None = None
    if branch.after_turn < len(contexts):
        keeps = branch.keeps_history
        found = _limited(
            branch.conversation,
            spec,
            tally,
            num_turns=num_turns + branch.after_turn + 1 if keeps else 0,
            num_tokens=int(contexts[branch.after_turn]) if keeps else 0,
        )
    if found is None:
        tally[CUT_BRANCHES] += 1
        return None
    return replace(branch, conversation=found)


def _check_number(
    spec: ConversationsSpec, base_directory: Path, wanted: Wanted, num_chosen: int, counted: Tally
) -> None:
    is_trace = isinstance(spec, TraceConversations)
    may_be_fewer = wanted.count is None or (wanted.is_most and is_trace)
    if num_chosen == wanted.count or (may_be_fewer and num_chosen):
        return
    if not isinstance(spec, TraceConversations):
        raise WorkloadError(
            f"conversations.max_context_tokens fits only {num_chosen} of "
            f"{num_chosen + counted[TOO_LONG]} conversations drawn, got {spec.max_context_tokens}; "
            f"raise it or lower conversations.length_scale"
        )
    text = "; ".join(f"{n:,} {what}" for what, n in counted.items()) or "nothing"
    raise TraceError(
        f"{_trace_path(spec, base_directory)}: {wanted.why or 'conversations.count'} must be ≤ the "
        f"{num_chosen} conversations from offset {spec.offset} on that fit, got "
        f"{wanted.count or 'all'} (counted: {text})"
    )
