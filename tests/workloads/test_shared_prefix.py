"""System prompts that conversations have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from suite.measuring.shared_prefixes import shared_ratios
from tests.workloads.examples import lengths, small_plan
from workloads.content import PromptContent
from workloads.conversations import Wanted, choose_conversations
from workloads.plan import Plan
from workloads.shapes import Tally
from workloads.spec_conversations import FixedConversations, SharedPrefixSpec

FIXED = "source: fixed, count: 30, turns: 2, prompt_tokens: 10, output_tokens: 4"


def prefixed(folder: Path, groups: int, extra: str = "") -> Plan:
    prefix = f"shared_prefix: {{tokens: 64, groups: {groups}}}"
    return small_plan(folder, f"conversations={{{FIXED}, {prefix}{extra}}}")


def prefixes(plan: Plan) -> list[bytes]:
    return [each.turns[0].new_prompt_token_ids[:64].tobytes() for each in plan.conversations]


def test_each_first_turn_begins_with_a_system_message_of_its_group(tmp_path: Path) -> None:
    plan = prefixed(tmp_path, groups=3)
    assert lengths(plan) == [[(74, 4), (10, 4)]] * 30
    found = prefixes(plan)
    assert len(set(found)) == 3
    assert all(found.count(each) >= 3 for each in set(found))  # drawn uniformly: 10 each
    for conversation in plan.conversations:
        first, second = conversation.turns
        assert [(each.role, each.num_tokens) for each in first.messages] == [
            ("system", 64),
            ("user", 10),
        ]
        assert second.messages == ()


def test_what_users_say_is_as_without_it(tmp_path: Path) -> None:
    plain = small_plan(tmp_path, f"conversations={{{FIXED}}}")
    for one, two in zip(
        plain.conversations, prefixed(tmp_path, groups=2).conversations, strict=True
    ):
        assert np.array_equal(
            one.turns[0].new_prompt_token_ids, two.turns[0].new_prompt_token_ids[64:]
        )
        assert np.array_equal(one.turns[1].new_prompt_token_ids, two.turns[1].new_prompt_token_ids)
    assert plain.digest != prefixed(tmp_path, groups=2).digest


def test_it_is_part_of_the_context_and_is_scaled(tmp_path: Path) -> None:
    assert lengths(prefixed(tmp_path, 1, ", max_context_tokens: 80")) == [[(74, 4)]] * 30
    assert lengths(prefixed(tmp_path, 1, ", length_scale: 0.5"))[0] == [(37, 2), (5, 2)]


def test_words_of_a_trace_stand_after_it(tmp_path: Path) -> None:
    said = '[{"from": "human", "value": "How far?"}, {"from": "gpt", "value": "Far."}]'
    (tmp_path / "s.json").write_text(f'[{{"conversations": {said}}}]')
    source = f"{{trace: sharegpt-json, path: {tmp_path}/s.json, shared_prefix: {{tokens: 9}}}}"
    (turn,) = small_plan(tmp_path, f"conversations={source}").conversations[0].turns
    assert turn.prompt_text is None
    system, user = turn.messages
    assert (system.role, system.num_tokens, system.text) == ("system", 9, None)
    assert (user.role, user.num_tokens, user.text) == ("user", 2, "How far?")


def test_the_plan_file_keeps_it(tmp_path: Path) -> None:
    plan = prefixed(tmp_path, groups=2)
    plan.write(tmp_path / "plan.parquet")
    read = Plan.read(tmp_path / "plan.parquet")
    assert read.digest == plan.digest
    assert read.conversations[0].turns[0].messages == plan.conversations[0].turns[0].messages


@given(count=st.integers(2, 12), groups=st.integers(1, 4), tokens=st.integers(1, 50))
def test_exactly_the_conversations_of_a_group_share_it(
    count: int, groups: int, tokens: int
) -> None:
    spec = FixedConversations(
        source="fixed",
        count=count,
        turns=1,
        prompt_tokens=20,
        output_tokens=2,
        shared_prefix=SharedPrefixSpec(tokens=tokens, groups=groups),
    )
    content = PromptContent(spec, seed=5)
    shapes = choose_conversations(spec, Path(), 5, Tally(), Wanted(count=count))
    prompts = [content.of(shape, k)[0].tolist() for k, shape in enumerate(shapes)]
    assert len({tuple(prompt[:tokens]) for prompt in prompts}) <= groups
    assert len({tuple(prompt[tokens:]) for prompt in prompts}) == count


def test_a_cache_may_rightly_hold_it_for_all_of_a_group(tmp_path: Path) -> None:
    plan = prefixed(tmp_path, groups=2)
    ratios = shared_ratios(plan)
    for conversation in plan.conversations:
        assert 64 / 74 <= ratios[conversation.conversation_id, 0] < 70 / 74
