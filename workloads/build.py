"""From a workload file to a plan: the only place where its randomness is spent."""

from __future__ import annotations

from pathlib import Path

from workloads.arrivals import start_instants, think_times
from workloads.content import PromptContent
from workloads.conversations import choose_conversations
from workloads.distributions import Ints, Stream
from workloads.extent import closed_duration, wanted_conversations
from workloads.plan import Plan
from workloads.plan_parts import Branch, Conversation, Note, TokenIds, Turn
from workloads.priorities import priority_trace
from workloads.shapes import ConversationShape, Tally
from workloads.spec import WorkloadSpec
from workloads.spec_traffic import ClosedArrivals
from workloads.users import User, assign_users, user_classes


def build_plan(spec: WorkloadSpec, base_directory: Path) -> Plan:
    """Returns the plan of the workload; `base_directory` is where relative trace paths start.
    Raises WorkloadError, TraceError."""
    tally, seed = Tally(), spec.seed
    wanted = wanted_conversations(spec)
    shapes = choose_conversations(spec.conversations, base_directory, seed, tally, wanted)
    starts = start_instants(spec.arrivals, shapes, seed, tally)
    users = assign_users(spec.users, len(shapes), seed, tally)
    held = _Held(spec, tally)
    for shape, start, user in zip(shapes, starts, users, strict=True):
        held.hold(shape, user, int(start) / 1e6)
    arrivals = spec.arrivals
    return Plan(
        name=spec.name,
        seed=seed,
        user_classes=user_classes(spec.users),
        conversations=tuple(held.conversations),
        closed_concurrency=arrivals.concurrency if isinstance(arrivals, ClosedArrivals) else None,
        closed_duration_s=closed_duration(spec),
        priorities=priority_trace(spec.priorities, spec.users, held.users, seed),
        notes=tuple(Note(what=what, count=count) for what, count in tally.items() if count),
    )


class _Held:
    """The plan's conversations as they are made, and who holds each."""

    def __init__(self, spec: WorkloadSpec, tally: Tally) -> None:
        self._spec = spec
        self._tally = tally
        self._content = PromptContent(spec.conversations, spec.seed)
        self.conversations: list[Conversation] = []
        self.users: list[User] = []

    def hold(
        self, shape: ConversationShape, user: User, start_at_s: float, branch: Branch | None = None
    ) -> None:
        """Adds the conversation, and after it those that branch off from it."""
        place = len(self.conversations)
        stream = Stream(self._spec.seed, f"think/{place}")
        thinking = think_times(
            self._spec.think_time, shape, stream, self._tally, is_branch=branch is not None
        )
        conversation = Conversation(
            conversation_id=f"c{place:05d}",
            user_id=user.user_id,
            user_class=user.user_class,
            start_at_s=start_at_s,
            turns=_turns(shape, self._content.of(shape, place), thinking),
            branch=branch,
        )
        self.conversations.append(conversation)
        self.users.append(user)
        for each in shape.branches:
            origin = Branch(
                conversation_id=conversation.conversation_id,
                turn=each.after_turn,
                keeps_history=each.keeps_history,
            )
            self.hold(each.conversation, user, start_at_s, origin)


def _turns(shape: ConversationShape, prompts: list[TokenIds], thinking: Ints) -> tuple[Turn, ...]:
    return tuple(
        Turn(
            new_prompt_token_ids=prompt,
            prompt_text=turn.prompt_text,
            num_output_tokens=turn.num_output_tokens,
            think_time_s=int(think) / 1e6,
            messages=turn.messages,
            replaces_system=turn.replaces_system,
            waits_for_branches=turn.waits_for_branches,
        )
        for turn, prompt, think in zip(shape.turns, prompts, thinking, strict=True)
    )
