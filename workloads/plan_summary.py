"""What a plan will ask, in numbers: for `fsbench plan`, and for people who check a workload."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.plan import Plan
from workloads.plan_parts import Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The spread of a count of tokens or turns; percentiles are values that occur."""

    mean: float
    p50: int
    p90: int
    p99: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    digest: str
    num_conversations: int
    num_users: int
    num_turns: int
    num_new_prompt_tokens: int
    num_output_tokens: int
    num_history_tokens: int  # sent again with later turns; what KV reuse can save
    last_start_at_s: float | None  # None in closed mode, which has no instants
    conversations_per_class: dict[str, int]
    turns_per_conversation: Spread
    new_prompt_tokens: Spread
    output_tokens: Spread
    context_tokens: Spread  # per turn: history, new prompt and output
    notes: tuple[Note, ...]


def summarise(plan: Plan) -> PlanSummary:
    turns = [turn for conversation in plan.conversations for turn in conversation.turns]
    prompts = [turn.new_prompt_token_ids.size for turn in turns]
    outputs = [turn.num_output_tokens for turn in turns]
    contexts = _contexts(plan)
    return PlanSummary(
        digest=plan.digest,
        num_conversations=len(plan.conversations),
        num_users=len({conversation.user_id for conversation in plan.conversations}),
        num_turns=plan.num_turns,
        num_new_prompt_tokens=plan.num_new_prompt_tokens,
        num_output_tokens=plan.num_output_tokens,
        num_history_tokens=sum(contexts) - sum(prompts) - sum(outputs),
        last_start_at_s=_last_start(plan),
        conversations_per_class=_conversations_per_class(plan),
        turns_per_conversation=_spread([len(c.turns) for c in plan.conversations]),
        new_prompt_tokens=_spread(prompts),
        output_tokens=_spread(outputs),
        context_tokens=_spread(contexts),
        notes=plan.notes,
    )


def _contexts(plan: Plan) -> list[int]:
    """Returns history, new prompt and output together of each turn, in the plan's order."""
    found: list[int] = []
    said: dict[tuple[str, int], tuple[int, int]] = {}  # after a turn: in all, and of that the front
    for conversation in plan.conversations:
        branch, context, front = conversation.branch, 0, 0
        if branch is not None and branch.keeps_history:
            context, front = said.get((branch.conversation_id, branch.turn), (0, 0))
        for number, turn in enumerate(conversation.turns):
            if turn.replaces_system:
                context -= front
            if turn.replaces_system or not context:
                front = turn.num_front_tokens
            context += turn.new_prompt_token_ids.size + turn.num_output_tokens
            said[conversation.conversation_id, number] = context, front
            found.append(context)
    return found


def _last_start(plan: Plan) -> float | None:
    return None if plan.closed_concurrency else plan.conversations[-1].start_at_s


def _conversations_per_class(plan: Plan) -> dict[str, int]:
    counts = {user_class.name: 0 for user_class in plan.user_classes}
    for conversation in plan.conversations:
        counts[conversation.user_class] += 1
    return counts


def _spread(values: list[int]) -> Spread:
    p50, p90, p99 = np.percentile(values, [50, 90, 99], method="inverted_cdf")
    return Spread(
        mean=float(np.mean(values)),
        p50=int(p50),
        p90=int(p90),
        p99=int(p99),
        maximum=max(values),
    )
