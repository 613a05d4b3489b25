"""A part's own words before each conversation, for every plan and salt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.driver.opening import opened, opening_of
from suite.driver.words import WORDS, render
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Turn

IDS = st.lists(st.integers(0, 40_000), min_size=1, max_size=30)


def plan_of(*prompts: list[int], text: str | None = None) -> Plan:
    turns = [
        Turn(
            new_prompt_token_ids=np.array(ids, dtype=np.int32),
            prompt_text=text,
            num_output_tokens=3,
            think_time_s=0.0,
        )
        for ids in prompts
    ]
    conversations = tuple(
        Conversation(
            conversation_id=f"c{number}",
            user_id="u",
            user_class="standard",
            start_at_s=0.0,
            turns=(turn, turn),
        )
        for number, turn in enumerate(turns)
    )
    return Plan(
        name="p",
        seed=1,
        user_classes=(),
        conversations=conversations,
        closed_concurrency=1,
        priorities=None,
    )


@given(prompts=st.lists(IDS, min_size=1, max_size=4), salts=st.sets(st.text(), min_size=2))
def test_each_salt_has_its_own_words_equally_many_and_of_the_plans_ids(
    prompts: list[list[int]], salts: set[str]
) -> None:
    plan = plan_of(*prompts)
    found = {opening_of(plan, salt) for salt in salts}
    used = {token_id for ids in prompts for token_id in ids}
    if len({token_id % len(WORDS) for token_id in used}) < 2:
        assert found == {()}
        return
    assert len(found) == len(salts)
    assert len({len(each) for each in found}) == 1
    assert {token_id for each in found for token_id in each} <= used
    assert len({render_of(each) for each in found}) == len(salts)  # also where text is sent


def render_of(ids: tuple[int, ...]) -> str:
    return render(plan_of(list(ids)).conversations[0].turns[0])


def test_of_the_usual_range_it_is_eight_words() -> None:
    assert len(opening_of(plan_of(list(range(256, 8000))), "salt")) == 8
    assert len(opening_of(plan_of([], text="Hello there"), "salt")) == 8


@given(prompts=st.lists(IDS, min_size=2, max_size=4))
def test_only_first_prompts_are_opened_and_common_beginnings_stay_common(
    prompts: list[list[int]],
) -> None:
    plan = plan_of(*prompts)
    mine = (7, 8, 9)
    for before, after in zip(plan.conversations, opened(plan, mine).conversations, strict=True):
        first = before.turns[0].new_prompt_token_ids.tolist()
        assert after.turns[0].new_prompt_token_ids.tolist() == [*mine, *first]
        assert after.turns[1] is before.turns[1]
        assert after.conversation_id == before.conversation_id


def test_real_words_get_a_line_before_them() -> None:
    first = opened(plan_of([], text="Hello"), (0, 1)).conversations[0].turns[0]
    assert (first.prompt_text, len(first.new_prompt_token_ids)) == ("the of\nHello", 0)


def test_the_work_stays_the_same() -> None:
    plan = plan_of([1, 2, 3])
    digest = plan.digest
    assert opened(plan, ()) is plan
    assert opened(plan, (1, 2)).digest != digest  # what is sent differs, what is recorded does not
    assert plan_of([1, 2, 3]).digest == plan.digest == digest


@pytest.mark.parametrize("ids", [[5], [5, 5], [5, 5 + len(WORDS)]])
def test_of_a_single_token_there_are_no_words_of_ones_own(ids: list[int]) -> None:
    assert opening_of(plan_of(ids), "salt") == ()
