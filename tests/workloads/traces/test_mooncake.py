from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from workloads.errors import TraceError
from workloads.shapes import ConversationShape, Tally
from workloads.traces.mooncake import BRANCH, EMPTY, ORPHAN, SHORTENED, read_mooncake


def line(ms: float, prompt: int, output: int, **more: object) -> dict[str, object]:
    return {"timestamp": ms, "input_length": prompt, "output_length": output} | more


def read(
    folder: Path, *lines: dict[str, object], tally: Tally | None = None
) -> list[ConversationShape]:
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(values) + "\n" for values in lines))
    return list(read_mooncake(path, Tally() if tally is None else tally))


def lengths(conversations: list[ConversationShape]) -> list[list[tuple[int, int]]]:
    return [
        [(turn.num_new_prompt_tokens, turn.num_output_tokens) for turn in conversation.turns]
        for conversation in conversations
    ]


def test_the_public_form_gives_one_turn_a_line(tmp_path: Path) -> None:
    first, second = read(
        tmp_path, line(0, 600, 5, hash_ids=[4, 5]), line(2500.5, 20, 3, hash_ids=[6])
    )
    assert (first.start_us, second.start_us) == (0, 2_500_500)
    assert first.turns[0].shared_block_ids == (4, 5)
    assert lengths([first, second]) == [[(600, 5)], [(20, 3)]]


def test_parents_make_conversations_and_gaps(tmp_path: Path) -> None:
    conversations = read(
        tmp_path,
        line(0, 100, 10, parent=-1),
        line(500, 50, 5, parent=-1),
        line(4000, 130, 7, parent=0),
        line(9000, 200, 1, parent=2),
    )
    assert lengths(conversations) == [[(100, 10), (20, 7), (63, 1)], [(50, 5)]]
    assert [turn.gap_us for turn in conversations[0].turns] == [None, 4_000_000, 5_000_000]


def test_a_prompt_not_longer_than_its_history_adds_one_token_and_is_counted(
    tmp_path: Path,
) -> None:
    tally = Tally()
    conversations = read(tmp_path, line(0, 100, 10), line(1, 109, 7, parent=0), tally=tally)
    assert lengths(conversations) == [[(100, 10), (1, 7)]]
    assert tally == {SHORTENED: 1}


def test_a_second_child_and_the_child_of_a_skipped_line_start_anew(tmp_path: Path) -> None:
    tally = Tally()
    conversations = read(
        tmp_path,
        line(0, 100, 10),
        line(1, 120, 7, parent=0),
        line(2, 130, 7, parent=0),
        line(3, 0, 7),
        line(4, 50, 2, parent=3),
        tally=tally,
    )
    assert lengths(conversations) == [[(100, 10), (10, 7)], [(130, 7)], [(50, 2)]]
    assert tally == {BRANCH: 1, EMPTY: 1, ORPHAN: 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{\n", ":2: not JSON: "),
        ("[3]\n", ":2: must be a JSON object, got '[3]'"),
        (json.dumps({"timestamp": 1}), ":2: input_length must be a whole number ≥ 0, got None"),
        (json.dumps(line(1, True, 2)), ":2: input_length must be a whole number ≥ 0, got True"),
        (
            json.dumps(line(1, 9, 2, parent=1)),
            ":2: parent must be an earlier line (0-based)",
        ),
        (json.dumps(line(1, 9, 2, parent=0)), ":2: timestamp must not be before its parent's"),
        (json.dumps(line(1, 9, 2, hash_ids="x")), ":2: hash_ids must be a list of whole numbers"),
        (
            json.dumps(line(1, 513, 2, hash_ids=[1])),
            ":2: hash_ids must be one for every 512",
        ),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(line(5, 9, 2)) + "\n" + text)
    with pytest.raises(TraceError) as caught:
        list(read_mooncake(path, Tally()))
    assert str(caught.value).startswith(f"{path}{problem}")


@pytest.mark.traces
def test_the_real_trace_keeps_its_links(real_trace: Callable[[str], Path]) -> None:
    tally = Tally()
    conversations = list(read_mooncake(real_trace("mooncake_synthetic.jsonl.gz"), tally))
    assert Counter(len(c.turns) for c in conversations) == {1: 3405, 2: 239, 3: 30, 4: 5}
    assert set(tally) == {SHORTENED}
    gaps = sorted(turn.gap_us or 0 for c in conversations for turn in c.turns[1:])
    assert gaps[len(gaps) // 2] / 1e6 == pytest.approx(79, abs=1)
