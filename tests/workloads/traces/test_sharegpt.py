from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.workloads.examples import quantile_distance
from workloads.errors import TraceError
from workloads.shapes import ConversationShape, Tally
from workloads.traces.sharegpt import read_sharegpt_turns
from workloads.traces.sharegpt_json import read_sharegpt_json

HEADER = "conv_id,turn,new_prompt_tokens,output_tokens,context_tokens\n"


def lengths(conversations: Iterable[ConversationShape]) -> list[list[tuple[int, int]]]:
    return [
        [(turn.num_new_prompt_tokens, turn.num_output_tokens) for turn in conversation.turns]
        for conversation in conversations
    ]


def write(folder: Path, text: str) -> Path:
    path = folder / "trace"
    path.write_text(text)
    return path


def test_turns_are_grouped_into_conversations(tmp_path: Path) -> None:
    tally = Tally()
    path = write(tmp_path, HEADER + "7,1,10,5,10\n7,2,3,5,18\n8,1,2,2,2\n")
    assert lengths(read_sharegpt_turns(path, tally)) == [[(10, 5), (3, 5)], [(2, 2)]]
    assert not tally


def test_the_context_column_may_be_missing(tmp_path: Path) -> None:
    text = HEADER.replace(",context_tokens", "") + "7,1,10,5\n"
    assert lengths(read_sharegpt_turns(write(tmp_path, text), Tally())) == [[(10, 5)]]


def test_a_context_that_does_not_add_up_is_counted(tmp_path: Path) -> None:
    tally = Tally()
    path = write(tmp_path, HEADER + "7,1,10,5,10\n7,2,3,5,9\n7,3,1,1,24\n")
    assert lengths(read_sharegpt_turns(path, tally)) == [[(10, 5), (3, 5), (1, 1)]]
    assert list(tally.values()) == [1]


def test_later_prompts_that_may_hold_a_dropped_turn_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    path = write(tmp_path, HEADER + "7,1,2000,5,2000\n7,2,1025,5,3030\n")
    assert len(list(read_sharegpt_turns(path, tally))) == 1
    assert list(tally.values()) == [1]


def test_flat_rows_continue_exactly_when_they_exceed_what_was_there(tmp_path: Path) -> None:
    rows = ["10,5", "18,5", "23,1", "24,1", "25,1", "26,2"]
    text = "num_prefill_tokens,num_decode_tokens\n" + "\n".join(rows)
    assert lengths(read_sharegpt_turns(write(tmp_path, text), Tally())) == [
        [(10, 5), (3, 5)],
        [(23, 1)],
        [(24, 1)],
        [(25, 1)],
        [(26, 2)],
    ]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("7,2,10,5,10\n", ":2: turn must be 1 in conversation 7, got 2"),
        ("7,1,10,5,10\n7,3,1,1,16\n", ":3: turn must be 2 in conversation 7, got 3"),
        ("7,1,0,5,10\n", ":2: new_prompt_tokens must be a whole number ≥ 1, got '0'"),
        ("7,1,1,,10\n", ":2: output_tokens must be a whole number ≥ 1, got ''"),
    ],
)
def test_a_bad_turn_is_refused_with_its_line(tmp_path: Path, rows: str, problem: str) -> None:
    path = write(tmp_path, HEADER + rows)
    with pytest.raises(TraceError) as caught:
        list(read_sharegpt_turns(path, Tally()))
    assert str(caught.value) == f"{path}{problem}"


def messages(*pairs: tuple[str, str]) -> dict[str, object]:
    return {"id": "x", "conversations": [{"from": who, "value": words} for who, words in pairs]}


def test_json_gives_words_and_estimates_lengths_openly(tmp_path: Path) -> None:
    tally = Tally()
    item = messages(("human", "What is up?"), ("gpt", "The sky."), ("human", "é"), ("gpt", "."))
    path = write(tmp_path, json.dumps([item]))
    (conversation,) = read_sharegpt_json(path, tally)
    assert lengths([conversation]) == [[(3, 2), (1, 1)]]
    assert [turn.prompt_text for turn in conversation.turns] == ["What is up?", "é"]
    assert +tally == {"turns with lengths estimated at 4 characters a token": 2}


def test_json_messages_without_a_partner_are_skipped_and_counted(tmp_path: Path) -> None:
    tally = Tally()
    items = [
        messages(("gpt", "lost"), ("human", "a"), ("human", "b"), ("gpt", "c"), ("human", "d")),
        messages(("system", "be kind")),
        messages(("human", ""), ("gpt", "")),
    ]
    (conversation,) = read_sharegpt_json(write(tmp_path, json.dumps(items)), tally)
    assert [turn.prompt_text for turn in conversation.turns] == ["b"]
    assert tally["messages that are not a question with its answer (skipped)"] == 6
    assert tally["conversations without a question and its answer (skipped)"] == 2


def test_system_prompts_are_sent_with_the_question_that_follows(tmp_path: Path) -> None:
    tally = Tally()
    items = [
        messages(
            ("system", "Be kind."), ("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")
        ),
        {"system": "Be brief."} | messages(("human", "a"), ("gpt", "b"), ("system", "lost")),
    ]
    first, second = read_sharegpt_json(write(tmp_path, json.dumps(items)), tally)
    assert [(each.role, each.text) for each in first.turns[0].messages] == [
        ("system", "Be kind."),
        ("user", "a"),
    ]
    assert first.turns[0].num_new_prompt_tokens == 2 + 1
    assert (first.turns[1].messages, first.turns[1].prompt_text) == ((), "c")
    assert second.turns[0].messages[0].text == "Be brief."
    assert tally["messages that are not a question with its answer (skipped)"] == 1


def test_conversations_may_stand_one_a_line(tmp_path: Path) -> None:
    items = [messages(("human", "a"), ("gpt", "b")), messages(("human", "c"), ("gpt", "d"))]
    path = write(tmp_path, "\n\n".join(json.dumps(each) for each in items) + "\n")
    assert [each.turns[0].prompt_text for each in read_sharegpt_json(path, Tally())] == ["a", "c"]


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path: Path) -> None:
    text = json.dumps([messages(("human", "\ud83d!"), ("gpt", "x"))])
    (conversation,) = read_sharegpt_json(write(tmp_path, text), Tally())
    assert conversation.turns[0].prompt_text == "\ufffd!"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[\n{", ":2: not JSON: "),
        ("{}", ":1: must be {conversations: [{from, value}, …]}"),
        ("[3]", ":1: item 0: must be {conversations: [{from, value}, …]}"),
        (
            '[{"conversations": [3]}]',
            ":1: item 0: each message must have text in `from` and `value`",
        ),
        (
            '[{"conversations": [{"from": "human", "value": null}]}]',
            ":1: item 0: each message must have text in `from` and `value`",
        ),
    ],
)
def test_bad_json_is_refused_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(TraceError) as caught:
        list(read_sharegpt_json(path, Tally()))
    assert str(caught.value).startswith(f"{path}{problem}")


@pytest.mark.traces
def test_the_real_turns_have_their_published_statistics(
    real_trace: Callable[[str], Path],
) -> None:
    tally = Tally()
    path = real_trace("sharegpt_openchat_turns.csv.gz")
    conversations = list(read_sharegpt_turns(path, tally))
    turns = [turn for conversation in conversations for turn in conversation.turns]
    assert (len(conversations), len(turns)) == (5678, 30_731)
    quantiles = {0.05: 44, 0.25: 228, 0.5: 415, 0.75: 628, 0.9: 834, 0.95: 920, 0.99: 998}
    assert quantile_distance([turn.num_output_tokens for turn in turns], quantiles) < 0.002
    assert tally == {"later prompts over 1024 tokens (may hold a dropped turn)": 955}
