from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from suite.records.turn_counts import TurnCounter
from tests.suite.records.plans import plan_of

# What became of a conversation: how many turns it recorded, and how the last of them ended.
FATES = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 5), st.sampled_from([None, "server", "stop"])),
    max_size=6,
)


@given(FATES, st.booleans())
def test_every_planned_turn_is_recorded_or_lost_and_the_reasons_are_told(
    fates: list[tuple[int, int, str | None]], is_stopped: bool
) -> None:
    plan = plan_of([num_turns for num_turns, _, _ in fates])
    counter, num_failed, num_cut, num_unasked = TurnCounter(plan), 0, 0, 0
    for conversation, (num_turns, recorded, end) in zip(plan.conversations, fates, strict=True):
        for turn in range(min(recorded, num_turns)):
            source = end if turn + 1 == min(recorded, num_turns) else None
            error = None if source is None else "gone"
            counter.add(conversation.conversation_id, turn, error=error, error_source=source)
            num_failed += source == "server"
            num_cut += source == "stop"
            num_unasked += (num_turns - turn - 1) * (source == "server")
    counts = counter.counts(is_stopped=is_stopped)
    assert counts.planned == plan.num_turns == counts.recorded + counts.lost
    assert (counts.failed, counts.cut, counts.not_asked) == (num_failed, num_cut, num_unasked)
    assert counts.not_due == (counts.lost - num_unasked if is_stopped else 0)
