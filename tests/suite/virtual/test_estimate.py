"""How long a plan takes on a steady engine, held against what can be said by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.virtual.estimate import steady_duration_s
from tests.workloads.examples import small_plan
from workloads.plan import Plan
from workloads.plan_parts import Conversation


def alone_s(conversation: Conversation, token_s: float) -> float:
    """One conversation from its first question to its last answer."""
    return sum(
        turn.think_time_s * (place > 0) + turn.num_output_tokens * token_s
        for place, turn in enumerate(conversation.turns)
    )


def closed(folder: Path, concurrency: int) -> Plan:
    return small_plan(folder, f"arrivals={{process: closed, concurrency: {concurrency}}}")


@given(token_s=st.floats(0, 0.2))
def test_an_open_loop_ends_with_the_conversation_that_ends_last(
    tmp_path_factory: pytest.TempPathFactory, token_s: float
) -> None:
    plan = small_plan(tmp_path_factory.mktemp("plan"))
    last = max(each.start_at_s + alone_s(each, token_s) for each in plan.conversations)
    assert steady_duration_s(plan, token_s=token_s) == pytest.approx(last)


def test_one_at_a_time_takes_the_sum_and_all_at_a_time_the_longest(tmp_path: Path) -> None:
    each = [alone_s(one, 0.05) for one in closed(tmp_path, 1).conversations]
    assert steady_duration_s(closed(tmp_path, 1), token_s=0.05) == pytest.approx(sum(each))
    assert steady_duration_s(closed(tmp_path, len(each)), token_s=0.05) == pytest.approx(max(each))


@given(concurrency=st.integers(1, 12))
def test_a_closed_loop_lies_between_its_bounds(
    tmp_path_factory: pytest.TempPathFactory, concurrency: int
) -> None:
    """Graham's: whoever is free takes the next, so nobody idles while work waits."""
    plan = closed(tmp_path_factory.mktemp("plan"), concurrency)
    each = [alone_s(one, 0.05) for one in plan.conversations]
    least = max(sum(each) / concurrency, *each)
    found = steady_duration_s(plan, token_s=0.05)
    assert least <= found + 1e-9
    assert found <= sum(each) / concurrency + max(each) + 1e-9


def test_a_closed_loop_that_ends_by_time_takes_that_and_its_last_answers(tmp_path: Path) -> None:
    timed = replace(closed(tmp_path, 2), closed_duration_s=1.0)
    longest_s = max(turn.num_output_tokens for each in timed.conversations for turn in each.turns)
    assert 1.0 < steady_duration_s(timed, token_s=0.05) < 1.0 + 0.05 * longest_s
