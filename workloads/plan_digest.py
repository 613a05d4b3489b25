"""The digest of a plan: equal exactly when the work is, on any machine.

It covers what is asked and by whom: the seed, conversations with their content and instants, user
classes with their SLOs, priorities. Not names, notes, engines, gates or the number of repeats.
Only integers and bytes go in (instants as whole microseconds), so no rounding can change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.plan import Plan

CANONICAL_FORM = "fsbench plan, canonical form 1"


def plan_digest(plan: Plan) -> str:
    """SHA-256 over the parts, each with its length before it; 64 hex digits."""
    sha = hashlib.sha256()
    for part in _canonical_parts(plan):
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()


def _canonical_parts(plan: Plan) -> Iterator[bytes | memoryview]:
    yield _json(CANONICAL_FORM, plan.seed, plan.closed_concurrency)
    for user_class in sorted(plan.user_classes, key=lambda user_class: user_class.name):
        slo = user_class.slo
        ratios = (user_class.share_ratio, slo.tbt_percentile, slo.attainment_ratio)
        yield _json(user_class.name, _us(slo.ttft_s), _us(slo.tbt_s), *map(_ppb, ratios))
    for conversation in plan.conversations:
        who = (conversation.conversation_id, conversation.user_id, conversation.user_class)
        yield _json(*who, _us(conversation.start_at_s), len(conversation.turns))
        for turn in conversation.turns:
            yield _json(turn.prompt_text, turn.num_output_tokens, _us(turn.think_time_s))
            yield turn.new_prompt_token_ids.astype("<i4").tobytes()
    trace = plan.priorities
    if trace is not None:
        when = (_ppb(trace.update_frequency), _us(trace.update_interval_s))
        yield _json(trace.pattern.value, trace.num_levels, *when, *trace.levels.shape)
        # Flat, and not copied: it may be most of the plan.
        yield np.ascontiguousarray(trace.levels).reshape(-1).data


def _json(*values: str | int | None) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _ppb(ratio: float) -> int:
    """Parts per billion."""
    return round(ratio * 1e9)
