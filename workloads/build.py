"""From a workload file to a plan: the only place where its randomness is spent."""

from __future__ import annotations

from pathlib import Path

from workloads.arrivals import start_instants, think_times
from workloads.content import PromptContent
from workloads.conversations import choose_conversations
from workloads.distributions import Ints, Stream
from workloads.extent import check_plan_size, wanted_conversations
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Note, TokenIds, Turn
from workloads.priorities import priority_trace
from workloads.shapes import ConversationShape, Tally
from workloads.spec import WorkloadSpec
from workloads.spec_traffic import ClosedArrivals
from workloads.users import assign_users, user_classes


def build_plan(spec: WorkloadSpec, base_directory: Path) -> Plan:
    """Returns the plan of the workload; `base_directory` is where relative trace paths start.
    Raises WorkloadError, TraceError."""
    tally, seed = Tally(), spec.seed
    wanted = wanted_conversations(spec)
    shapes = choose_conversations(spec.conversations, base_directory, seed, tally, wanted)
    check_plan_size(shapes)
    starts = start_instants(spec.arrivals, shapes, seed)
    users = assign_users(spec.users, len(shapes), seed, tally)
    content = PromptContent(spec.conversations, seed)
    conversations = []
    for k, (shape, user) in enumerate(zip(shapes, users, strict=True)):
        thinking = think_times(spec.think_time, shape, Stream(seed, f"think/{k}"), tally)
        conversations.append(
            Conversation(
                conversation_id=f"c{k:05d}",
                user_id=user.user_id,
                user_class=user.user_class,
                start_at_s=int(starts[k]) / 1e6,
                turns=_turns(shape, content.of(shape, k), thinking),
            )
        )
    arrivals = spec.arrivals
    return Plan(
        name=spec.name,
        seed=seed,
        user_classes=user_classes(spec.users),
        conversations=tuple(conversations),
        closed_concurrency=arrivals.concurrency if isinstance(arrivals, ClosedArrivals) else None,
        priorities=priority_trace(spec.priorities, spec.users, users, seed),
        notes=tuple(Note(what=what, count=count) for what, count in tally.items() if count),
    )


def _turns(shape: ConversationShape, prompts: list[TokenIds], thinking: Ints) -> tuple[Turn, ...]:
    return tuple(
        Turn(
            new_prompt_token_ids=prompt,
            prompt_text=turn.prompt_text,
            num_output_tokens=turn.num_output_tokens,
            think_time_s=int(think) / 1e6,
            messages=turn.messages,
        )
        for turn, prompt, think in zip(shape.turns, prompts, thinking, strict=True)
    )
