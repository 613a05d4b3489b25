"""OpenAI messages: what is asked, what its answers' lengths are, and what is counted instead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import counts, small_plan
from workloads.errors import TraceError
from workloads.plan_parts import TOOLS_ROLE, Message
from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.messages import (
    NO_ANSWER,
    NOT_TEXT,
    REPEATED,
    UNANSWERED,
    read_messages,
)
from workloads.traces.spoken import ESTIMATED

CALL = {"id": "x", "type": "function", "function": {"name": "add", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]


def said(role: str, content: object = "abcd", **more: object) -> dict[str, object]:
    return {"role": role, "content": content} | more


def read(folder: Path, *items: object, tally: Tally | None = None) -> list[ConversationShape]:
    path = folder / "m.jsonl"
    whole = [{"messages": each} if isinstance(each, list) else each for each in items]
    path.write_text("\n".join(json.dumps(each) for each in whole))
    return list(read_messages(path, Tally() if tally is None else tally))


def roles(turn: TurnShape) -> list[str]:
    return [each.role for each in turn.messages]


def test_plain_questions_are_as_in_sharegpt(tmp_path: Path) -> None:
    tally = Tally()
    item = {"messages": [said("user", "How far?"), said("assistant", "Far!"), said("user")]}
    (conversation,) = read(tmp_path, item, tally=tally)
    (turn,) = conversation.turns
    assert (turn.prompt_text, turn.messages) == ("How far?", ())
    assert (turn.num_new_prompt_tokens, turn.num_output_tokens) == (2, 1)
    assert +tally == {ESTIMATED: 1, UNANSWERED: 1}


def test_system_tools_calls_and_results_become_turns(tmp_path: Path) -> None:
    item = {
        "tools": TOOLS,
        "messages": [
            said("system", "Be kind."),
            said("user", "2 + 2?"),
            said("assistant", None, tool_calls=[CALL]),
            said("tool", "4", tool_call_id="x", delay_s=0.25),
            said("assistant", "It is 4."),
        ],
    }
    first, second = read(tmp_path, item)[0].turns
    assert roles(first) == [TOOLS_ROLE, "system", "user"]
    assert json.loads(first.messages[0].text or "") == TOOLS
    assert roles(second) == ["assistant", "tool"]
    calls, result = second.messages
    assert calls.joins_answer and json.loads(calls.fields or "") == {"tool_calls": [CALL]}
    assert (result.text, json.loads(result.fields or "")) == ("4", {"tool_call_id": "x"})
    assert (first.delay_us, second.delay_us) == (None, 250_000)
    # what the file's answer was long, calls included, is what is asked for
    assert first.num_output_tokens == -(-len(json.dumps({"tool_calls": [CALL]})) // 4)
    for turn in (first, second):
        assert turn.num_new_prompt_tokens == sum(each.num_tokens for each in turn.messages)


def test_several_results_are_waited_for_and_arguments_become_text(tmp_path: Path) -> None:
    call = {"id": "x", "function": {"name": "add", "arguments": {"a": 1}}}
    messages = [
        said("user"),
        said("assistant", "", tool_calls=[call]),
        said("tool", tool_call_id="x", delay_s=0.5),
        said("tool", tool_call_id="y", delay_s=0.1),
        said("assistant"),
    ]
    _, second = read(tmp_path, messages)[0].turns
    assert second.delay_us == 500_000
    (sent,) = json.loads(second.messages[0].fields or "")["tool_calls"]
    assert (sent["type"], sent["function"]["arguments"]) == ("function", '{"a": 1}')


def test_a_systems_own_prompt_for_a_turn_replaces_the_first_where_the_file_says_so(
    tmp_path: Path,
) -> None:
    messages = [
        said("system"),
        said("user"),
        said("assistant"),
        said("system", "Now be brief.", replaces=True),
        said("user"),
        said("assistant"),
        said("system"),
        said("user"),
        said("assistant"),
    ]
    turns = read(tmp_path, messages)[0].turns
    assert [turn.replaces_system for turn in turns] == [False, True, False]
    assert [roles(turn) for turn in turns] == [["system", "user"]] * 3


def test_who_speaks_first_and_who_speaks_twice(tmp_path: Path) -> None:
    tally = Tally()
    messages = [said(role) for role in ["system", "assistant", "user", "assistant", "assistant"]]
    (turn,) = read(tmp_path, messages, tally=tally)[0].turns
    assert roles(turn) == ["system", "assistant", "user"]
    assert tally[REPEATED] == 1


def test_calls_of_an_answer_that_was_left_out_still_come_before_their_results(
    tmp_path: Path,
) -> None:
    messages = [
        said("user"),
        said("assistant", "Let me see."),
        said("assistant", None, tool_calls=[CALL]),
        said("tool", tool_call_id="x"),
        said("assistant"),
    ]
    assert roles(read(tmp_path, messages)[0].turns[1]) == ["assistant", "tool"]


def test_requests_without_an_answer_say_how_long_it_is(tmp_path: Path) -> None:
    tally = Tally()
    messages = [said("system"), said("user")]
    batch = {"custom_id": "1", "body": {"model": "m", "messages": messages, "max_tokens": 30}}
    newer = {"messages": messages, "max_completion_tokens": 40}
    found = read(tmp_path, batch, newer, {"messages": messages}, tally=tally)
    assert [each.turns[0].num_output_tokens for each in found] == [30, 40]
    assert tally[NO_ANSWER] == 1


def test_a_file_of_which_nothing_is_left_says_what_became_of_it(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"messages": [said("user")]}))
    with pytest.raises(TraceError, match=rf"got all \(counted: .*1 {re.escape(NO_ANSWER)}\)"):
        small_plan(tmp_path, f"conversations={{trace: messages, path: {tmp_path}/m.jsonl}}")
    (tmp_path / "m.jsonl").write_text("")
    with pytest.raises(TraceError, match=r"got all \(counted: nothing\)"):
        small_plan(tmp_path, f"conversations={{trace: messages, path: {tmp_path}/m.jsonl}}")


def test_lengths_that_the_file_knows_are_no_estimates(tmp_path: Path) -> None:
    item = [said("user", tokens=500), said("assistant", "abc", tokens=77)]
    (turn,) = read(tmp_path, item)[0].turns
    assert (turn.num_new_prompt_tokens, turn.num_output_tokens) == (500, 77)


def test_parts_are_text_or_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    (turn,) = read(tmp_path, [said("user", parts), said("assistant")], tally=tally)[0].turns
    assert turn.prompt_text == "a\nb"
    assert tally[NOT_TEXT] == 1


def test_branches_leave_after_an_answer_and_may_be_waited_for(tmp_path: Path) -> None:
    item = {
        "messages": [said("user"), said("assistant"), said("tool", waits=True), said("assistant")],
        "branches": [
            {
                "after": 1,
                "messages": [said("user", delay_s=0.5), said("assistant")],
                "branches": [{"after": 1, "messages": [said("user"), said("assistant")]}],
            },
            {
                "after": 1,
                "history": False,
                "messages": [said("system"), said("user"), said("assistant")],
            },
            {"after": 2, "messages": [said("user")]},
        ],
    }
    tally = Tally()
    (root,) = read(tmp_path, item, tally=tally)
    assert [turn.waits_for_branches for turn in root.turns] == [False, True]
    one, two = root.branches
    assert (one.after_turn, one.keeps_history, two.keeps_history) == (0, True, False)
    assert one.conversation.turns[0].delay_us == 500_000
    assert len(one.conversation.branches) == 1
    assert (tally[NO_ANSWER], tally[ESTIMATED]) == (1, 5)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (
            '{"messages": [{"role": "user"}, {"role": "assistant"}], '
            '"branches": [{"after": 2, "messages": []}]}',
            ":2: branch 0: after must be ≤ 1, got 2",
        ),
        (
            '{"messages": [{"role": "user"}, {"role": "assistant"}], "branches": [{"after": 1}]}',
            ":2: branch 0: must be {messages: ",
        ),
        ("{}", ":2: must be {messages: [{role, content}, …]}"),
        ('{"messages": [{"content": "x"}]}', ":2: each message must have a role of assistant, d"),
        ('{"messages": [{"role": "me"}]}', "got 'me'"),
        (
            '{"messages": [{"role": "user", "content": 3}]}',
            ":2: message 0: content must be text or a list of parts",
        ),
        ('{"messages": [{"role": "user", "delay_s": -1}]}', ":2: message 0: delay_s must be a nu"),
        ('{"messages": [{"role": "user", "delay_s": 1e300}]}', "delay_s must be ≤ 36,000,000, got"),
        (
            '{"messages": [{"role": "user", "content": "x", "tokens": 999999999999}]}',
            "tokens must be ≤ 10,000,000, got 999999999999",
        ),
        ('{"messages": [], "tools": 3}', ":2: tools must be a list of objects"),
        (
            '{"messages": [{"role": "user"}, {"role": "system", "replaces": true}]}',
            ":2: message 1: replaces is for a system message that begins a turn",
        ),
        (
            '{"messages": [{"role": "user", "waits": "no"}]}',
            ":2: message 0: waits must be true or false, got 'no'",
        ),
        (
            '{"messages": [{"role": "system", "replaces": 0}]}',
            ":2: message 0: replaces must be true or false, got 0",
        ),
    ],
)
def test_a_bad_conversation_is_refused_with_its_line(
    tmp_path: Path, item: str, problem: str
) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"messages": []}\n' + item)
    with pytest.raises(TraceError) as caught:
        list(read_messages(path, Tally()))
    assert str(caught.value).startswith(f"{path}:2: ") and problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_starts_are_in_order_and_played_as_they_were(tmp_path: Path) -> None:
    turns = [said("user"), said("assistant")]
    items = [{"messages": turns, "start_s": at} for at in (10, 11.5)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, items)))
    source = f"conversations={{trace: messages, path: {tmp_path}/m.jsonl}}"
    plan = small_plan(tmp_path, source, "arrivals={process: trace}")
    assert [each.start_at_s for each in plan.conversations] == [0.0, 1.5]
    with pytest.raises(TraceError, match=r":2: start_s must not be before"):
        read(tmp_path, *items[::-1])


def test_a_delay_of_the_file_is_waited_and_think_times_are_for_the_rest(tmp_path: Path) -> None:
    messages = [said("user"), said("assistant"), said("tool", delay_s=7), said("assistant")]
    messages += [said("user"), said("assistant")]
    (tmp_path / "m.jsonl").write_text(json.dumps({"messages": messages}))
    plan = small_plan(
        tmp_path,
        f"conversations={{trace: messages, path: {tmp_path}/m.jsonl}}",
        "think_time={distribution: constant, value: 2s}",
    )
    assert [turn.think_time_s for turn in plan.conversations[0].turns] == [0.0, 7.0, 2.0]
    assert counts(plan) == {f"in the whole trace file: {ESTIMATED}": 3} | {
        what: number for what, number in counts(plan).items() if what.startswith("user classes")
    }


MESSAGE = st.builds(
    said,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.none() | st.text(max_size=40) | st.lists(st.fixed_dictionaries({"text": st.text()})),
)


@given(st.lists(MESSAGE, max_size=12))
def test_every_message_is_asked_answered_or_counted(messages: list[dict[str, Any]]) -> None:
    """And what is asked is never empty, and always ends with somebody who waits."""
    from tempfile import TemporaryDirectory

    tally = Tally()
    with TemporaryDirectory() as folder:
        found = read(Path(folder), messages, tally=tally)
    turns = [turn for each in found for turn in each.turns]
    num_asked = sum(max(1, len(turn.messages)) for turn in turns)
    num_unused = tally[UNANSWERED] + tally[REPEATED]
    assert num_asked + len(turns) + num_unused == len(messages)
    for turn in turns:
        assert turn.num_new_prompt_tokens >= 1 and turn.num_output_tokens >= 1
        texts = [Message(role="user", num_tokens=0, text=turn.prompt_text), *turn.messages]
        assert any(each.role in ("user", "tool") for each in texts)
