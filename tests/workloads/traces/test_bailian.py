from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import lengths, small_plan
from workloads.errors import TraceError
from workloads.shapes import ConversationShape, Tally
from workloads.traces.bailian import BRANCH, EMPTY, ORPHAN, SHORTENED, read_bailian


def line(
    chat: int, at_s: float, prompt: int, output: int, parent: int = -1, **more: object
) -> dict[str, object]:
    ids = {"chat_id": chat, "parent_chat_id": parent, "timestamp": at_s, "type": "text"}
    return ids | {"input_length": prompt, "output_length": output, "turn": 1} | more


def read(
    folder: Path, *lines: dict[str, object], tally: Tally | None = None
) -> list[ConversationShape]:
    path = folder / "b.jsonl"
    path.write_text("".join(json.dumps(values) + "\n" for values in lines))
    return list(read_bailian(path, Tally() if tally is None else tally))


def sizes(conversation: ConversationShape) -> list[tuple[int, int]]:
    return [(turn.num_new_prompt_tokens, turn.num_output_tokens) for turn in conversation.turns]


def test_parents_make_conversations_in_seconds(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        line(159, 61.114, 521, 132, hash_ids=[1089, 1090]),
        line(7, 62, 50, 5),
        line(3, 70.25, 700, 9, parent=159, hash_ids=[1089, 1090, 4]),
    )
    assert (first.start_us, second.start_us) == (61_114_000, 62_000_000)
    assert (sizes(first), sizes(second)) == ([(521, 132), (47, 9)], [(50, 5)])
    assert [turn.gap_us for turn in first.turns] == [None, 9_136_000]
    assert list(first.turns[0].shared_block_ids) == [1089, 1090]
    assert list(first.turns[1].shared_block_ids) == []


def test_a_second_child_is_a_branch_that_goes_on_from_its_parent(tmp_path: Path) -> None:
    tally = Tally()
    (root,) = read(
        tmp_path,
        line(1, 0, 100, 10),
        line(2, 5, 120, 7, parent=1),
        line(3, 6, 130, 8, parent=1),
        line(4, 9, 150, 9, parent=3),
        tally=tally,
    )
    assert sizes(root) == [(100, 10), (10, 7)]
    (branch,) = root.branches
    assert (branch.after_turn, branch.keeps_history) == (0, True)
    assert sizes(branch.conversation) == [(20, 8), (12, 9)]
    assert [turn.gap_us for turn in branch.conversation.turns] == [6_000_000, 3_000_000]
    assert +tally == {BRANCH: 1}


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    tally = Tally()
    conversations = read(
        tmp_path,
        line(1, 0, 100, 10),
        line(2, 1, 105, 10, parent=1),
        line(3, 2, 0, 10),
        line(4, 3, 9, 9, parent=3),
        tally=tally,
    )
    assert [sizes(each) for each in conversations] == [[(100, 10), (1, 10)], [(9, 9)]]
    assert +tally == {SHORTENED: 1, EMPTY: 1, ORPHAN: 1}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (line(2, 1, 9, 2, parent=1), ":2: timestamp must not be before its parent's"),
        (line(2, 9, 9, 2, hash_ids="x"), ":2: hash_ids must be a list of whole numbers"),
        (line(2, 9, 9, 2, hash_ids=[1.5]), ":2: hash_ids must be a list of whole numbers"),
        (line(2, 9, 33, 2, hash_ids=[1, 2, 3, 4]), ":2: hash_ids must be at most one for every 16"),
        (line(2, 1e300, 33, 2), ":2: timestamp must be ≤ 100,000,000,000, got 1e+300"),
        (line(2, 9, 999_999_999_999, 2), ":2: input_length must be ≤ 10,000,000, got 9999"),
        ({"timestamp": 1}, ":2: input_length must be a whole number ≥ 0, got None"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(
    tmp_path: Path, values: dict[str, object], problem: str
) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, line(1, 5, 9, 2), values)
    assert str(caught.value).startswith(f"{tmp_path}/b.jsonl{problem}")


def test_equal_blocks_are_equal_content_and_a_rest_without_a_block_is_its_own(
    tmp_path: Path,
) -> None:
    lines = [line(1, 0, 40, 5, hash_ids=[1, 2]), line(2, 1, 40, 5, hash_ids=[1, 3])]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for scale, block in ((1.0, 16), (0.5, 8)):
        source = f"{{trace: bailian, path: {tmp_path}/b.jsonl, length_scale: {scale}}}"
        plan = small_plan(tmp_path, f"conversations={source}")
        assert lengths(plan) == [[(round(40 * scale), max(2, round(5 * scale)))]] * 2
        first, second = (each.turns[0].new_prompt_token_ids for each in plan.conversations)
        assert np.array_equal(first[:block], second[:block])
        assert not np.array_equal(first[block : 2 * block], second[block : 2 * block])
        assert not np.array_equal(first[2 * block :], second[2 * block :])


@given(
    st.lists(st.tuples(st.integers(-1, 30), st.integers(0, 500), st.integers(0, 50)), max_size=25)
)
def test_every_request_is_a_turn_of_one_session_and_has_its_whole_prompt(
    requests: list[tuple[int, int, int]],
) -> None:
    """Against the parents themselves: the prompt of each turn is what was said before it, and what
    it adds."""
    lines = [
        line(chat, chat / 2, prompt, output, parent=parent)
        for chat, (parent, prompt, output) in enumerate(requests)
    ]
    tally = Tally()
    with TemporaryDirectory() as folder:
        roots = read(Path(folder), *lines, tally=tally)
    asked = [prompt for _, prompt, output in requests if prompt and output]
    found = [prompt for root in roots for prompt in prompts(root, 0)]
    assert len(found) == len(asked) == len(requests) - tally[EMPTY]
    if not tally[SHORTENED]:
        assert sorted(found) == sorted(asked)


def prompts(conversation: ConversationShape, context: int) -> list[int]:
    """Each turn's whole prompt, the branches' too."""
    found, after = [], []
    for turn in conversation.turns:
        found.append(context + turn.num_new_prompt_tokens)
        context += turn.num_tokens
        after.append(context)
    for branch in conversation.branches:
        found += prompts(branch.conversation, after[branch.after_turn])
    return found
