"""The digest of a plan: equal exactly when the work is, on any machine.

It covers what is asked and by whom: the seed, conversations with their content and instants, user
classes with their SLOs, priorities. Not names, notes, engines, gates or the number of repeats.
Only integers and bytes go in (instants as whole microseconds), so no rounding can change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np

from workloads.plan_parts import Conversation, PriorityTrace, Turn, UserClass

CANONICAL_FORM = "fsbench plan, canonical form 1"


def plan_digest(
    *,
    seed: int,
    closed_concurrency: int | None,
    closed_duration_s: float | None,
    user_classes: Sequence[UserClass],
    conversations: Sequence[Conversation],
    priorities: PriorityTrace | None,
) -> str:
    """Returns the SHA-256 over the pieces, each with its length before it; 64 hex digits."""
    sha = hashlib.sha256()

    def add(pieces: Iterator[bytes | memoryview]) -> None:
        for piece in pieces:
            sha.update(len(piece).to_bytes(8, "little"))
            sha.update(piece)

    # Only where there is one, for the digests of before; as in all that came later.
    ends = () if closed_duration_s is None else (_us(closed_duration_s),)
    add(iter([_json(CANONICAL_FORM, seed, closed_concurrency, *ends)]))
    for user_class in sorted(user_classes, key=lambda user_class: user_class.name):
        add(_of_user_class(user_class))
    for conversation in conversations:
        add(_of_conversation(conversation))
    if priorities is not None:
        add(_of_priorities(priorities))
    return sha.hexdigest()


def _of_user_class(user_class: UserClass) -> Iterator[bytes]:
    slo = user_class.slo
    ratios = (user_class.share_ratio, slo.tbt_percentile, slo.attainment_ratio)
    # Only where it is promised: who never promised it keeps the digest of before there was one.
    cap = () if slo.max_gap_s is None else (_us(slo.max_gap_s),)
    yield _json(user_class.name, _us(slo.ttft_s), _us(slo.tbt_s), *map(_ppb, ratios), *cap)


def _of_conversation(conversation: Conversation) -> Iterator[bytes]:
    who = (conversation.conversation_id, conversation.user_id, conversation.user_class)
    yield _json(*who, _us(conversation.start_at_s), len(conversation.turns))
    if (branch := conversation.branch) is not None:
        yield _json("branch", branch.conversation_id, branch.turn, branch.keeps_history)
    for turn in conversation.turns:
        yield _json(turn.prompt_text, turn.num_output_tokens, _us(turn.think_time_s))
        yield turn.new_prompt_token_ids.astype("<i4").tobytes()
        yield from _of_messages(turn)


def _of_messages(turn: Turn) -> Iterator[bytes]:
    """Nothing for a turn that is one user message, as all were before there were others."""
    if turn.messages or turn.waits_for_branches:
        flags = (turn.replaces_system, turn.waits_for_branches)
        yield _json("messages", len(turn.messages), *flags)
    for each in turn.messages:
        yield _json(each.role, each.num_tokens, each.text, each.fields, each.joins_answer)


def _of_priorities(trace: PriorityTrace) -> Iterator[bytes | memoryview]:
    when = (_ppb(trace.update_frequency), _us(trace.update_interval_s))
    yield _json(trace.pattern.value, trace.num_levels, *when, *trace.levels.shape)
    # Flat, and not copied: it may be most of the plan.
    yield np.ascontiguousarray(trace.levels).reshape(-1).data


def _json(*values: str | int | None) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _ppb(ratio: float) -> int:
    """Returns parts per billion."""
    return round(ratio * 1e9)
