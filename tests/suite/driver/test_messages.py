"""Turns of several messages: as chat, as text, as token ids."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import orjson
import pytest

from engines.api import Endpoint
from engines.templates import NOBODY
from suite.driver.answer import Answer
from suite.driver.opening import opened
from suite.driver.prompt import History
from suite.driver.request_writer import RequestWriter
from suite.driver.target import Target
from suite.driver.words import render_ids
from tests.suite.driver.test_prompt import ANN, CHAT, IDS, TEXT
from tests.workloads.test_plan import conversation, plan_of
from workloads.plan_parts import TOOLS_ROLE, Message, Turn

SYSTEM = Message(role="system", num_tokens=2)
USER = Message(role="user", num_tokens=1)
TOOL = Message(role="tool", num_tokens=1, text="42", fields='{"tool_call_id":"x"}')
CALLS = Message(
    role="assistant", num_tokens=1, text="", fields='{"tool_calls":[{"id":"x"}]}', joins_answer=True
)
TOOLS = Message(
    role=TOOLS_ROLE, num_tokens=3, text='[{"type": "function", "function": {"name": "add"}}]'
)


def turn(first: int, *messages: Message, replaces_system: bool = False) -> Turn:
    num = sum(each.num_tokens for each in messages)
    return Turn(
        new_prompt_token_ids=np.arange(first, first + num, dtype=np.int32),
        prompt_text=None,
        num_output_tokens=2,
        think_time_s=0.0,
        messages=messages,
        replaces_system=replaces_system,
    )


def asked(to: Endpoint, *turns: Turn) -> dict:  # type: ignore[type-arg]
    """The last request's body."""
    history = History(to)
    writer = RequestWriter(to, Target.from_url(to.base_url))
    for number, each in enumerate(turns):
        if number:
            history.expect(each)
            history.hear(Answer(token_ids=[90, 91], text=[" x", " y"]), each)
        history.ask(each)
    request = writer.write(history, turns[-1], NOBODY, ANN)
    body: dict = orjson.loads(request.partition(b"\r\n\r\n")[2])  # type: ignore[type-arg]
    return body


def test_each_message_has_its_role_and_its_own_tokens_as_words() -> None:
    assert asked(CHAT, turn(10, SYSTEM, USER))["messages"] == [
        {"role": "system", "content": render_ids([10, 11])},
        {"role": "user", "content": render_ids([12])},
    ]


def test_tool_calls_join_the_servers_own_answer_and_results_follow_it() -> None:
    messages = asked(CHAT, turn(10, SYSTEM, USER), turn(20, CALLS, TOOL))["messages"]
    assert messages[2:] == [
        {"role": "assistant", "content": " x y", "tool_calls": [{"id": "x"}]},
        {"role": "tool", "content": "42", "tool_call_id": "x"},
    ]


def test_tools_go_with_each_request_and_none_may_be_called() -> None:
    first = turn(10, TOOLS, SYSTEM, USER)
    for turns in ([first], [first, turn(20, USER)]):
        body = asked(CHAT, *turns)
        assert (body["tools"], body["tool_choice"]) == (json.loads(TOOLS.text or ""), "none")
        assert [each["role"] for each in body["messages"]][:2] == ["system", "user"]
    own = replace(CHAT, extra_body={"tool_choice": "auto"})
    assert asked(own, first)["tool_choice"] == "auto"
    text = asked(TEXT, first)
    assert "tools" not in text and text["prompt"].startswith(f"{TOOLS.text}\n{render_ids([13])}")
    assert asked(IDS, first)["prompt"] == [10, 11, 12, 13, 14, 15]


def test_other_tools_and_another_system_prompt_take_the_place_of_the_first() -> None:
    other = replace(TOOLS, text='[{"type": "function", "function": {"name": "find"}}]')
    again = turn(30, other, SYSTEM, USER, replaces_system=True)
    body = asked(CHAT, turn(10, TOOLS, SYSTEM, USER), again)
    assert body["tools"] == json.loads(other.text or "")
    assert [each["role"] for each in body["messages"]] == ["system", "user", "assistant", "user"]


def test_an_opening_stands_before_tools_and_before_what_is_said() -> None:
    """Where a server puts the tools before the system prompt, they are what its cache begins
    with."""
    text = replace(SYSTEM, text="Be kind.")
    (opened_turn,) = (
        opened(plan_of(conversation("a", 0, turn(1, TOOLS, text))), (0, 1)).conversations[0].turns
    )
    tools, system = opened_turn.messages
    assert json.loads(tools.text or "")[0]["function"]["description"].startswith("the of")
    assert (tools.num_tokens, system.text) == (5, "the of\nBe kind.")


@pytest.mark.parametrize("to", [CHAT, TEXT, IDS], ids=["chat", "text", "ids"])
def test_a_turns_own_system_prompt_takes_the_place_of_the_first(to: Endpoint) -> None:
    again = turn(30, SYSTEM, USER, replaces_system=True)
    body = asked(to, turn(10, SYSTEM, USER), turn(20, USER), again)
    if to is CHAT:
        assert [each["role"] for each in body["messages"]] == (
            ["system", "user", "assistant", "user", "assistant", "user"]
        )
        assert body["messages"][0]["content"] == render_ids([30, 31])
    elif to is TEXT:
        said = [[30, 31], [12], " x y", [20], " x y", [32]]
        assert body["prompt"] == "".join(
            each if isinstance(each, str) else render_ids(each) for each in said
        )
    else:
        assert body["prompt"] == [30, 31, 12, 90, 91, 20, 90, 91, 32]


@pytest.mark.parametrize("to", [CHAT, IDS], ids=["chat", "ids"])
def test_a_system_prompt_may_come_where_there_was_none(to: Endpoint) -> None:
    body = asked(to, turn(10, USER), turn(30, SYSTEM, USER, replaces_system=True))
    if to is CHAT:
        roles = [each["role"] for each in body["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
    else:
        assert body["prompt"] == [30, 31, 10, 90, 91, 32]


def test_as_text_real_words_have_lines_of_their_own() -> None:
    user = replace(USER, text="How much?")
    assert asked(TEXT, turn(10, SYSTEM, user), turn(20, CALLS, TOOL))["prompt"] == (
        f"{render_ids([10, 11])}How much?\n x y{CALLS.fields}\n42\n"
    )


def test_as_ids_it_is_all_that_the_turn_adds() -> None:
    assert asked(IDS, turn(10, SYSTEM, USER))["prompt"] == [10, 11, 12]


def test_an_opening_stands_before_every_system_prompt_at_the_front() -> None:
    """A trial's own words would be no use behind what another trial has sent too."""
    turns = (turn(10, SYSTEM, USER), turn(20, USER), turn(30, SYSTEM, replaces_system=True))
    plan = opened(plan_of(conversation("a", 0, *turns)), (7, 8))
    first, second, third = plan.conversations[0].turns
    assert first.new_prompt_token_ids.tolist() == [7, 8, 10, 11, 12]
    assert [each.num_tokens for each in first.messages] == [4, 1]
    assert second is turns[1]
    assert third.new_prompt_token_ids.tolist() == [7, 8, 30, 31]
    text = opened(plan_of(conversation("a", 0, turn(1, replace(SYSTEM, text="Be kind.")))), (0, 1))
    assert text.conversations[0].turns[0].messages[0].text == "the of\nBe kind."


@pytest.mark.parametrize("to", [CHAT, TEXT, IDS], ids=["chat", "text", "ids"])
def test_a_branch_goes_on_from_the_answer_and_leaves_its_origin_as_it_was(to: Endpoint) -> None:
    """Also where the origin has heard its answer already, with tool calls that are not the
    branch's."""
    answer = Answer(token_ids=[90, 91], text=[" x", " y"])
    first, own, other = turn(10, USER), turn(20, CALLS, TOOL), turn(30, USER)
    history, twin = History(to), History(to)
    for each in (history, twin):
        each.ask(first)
        each.hear(answer, own)
    branch = history.branched(answer, other)
    branch.ask(other)
    alone = History(to)
    alone.ask(first)
    alone.hear(answer, other)
    alone.ask(other)
    assert branch.json() == alone.json()
    for each in (history, twin):
        each.ask(own)
    assert history.json() == twin.json()
