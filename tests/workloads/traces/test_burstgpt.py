from __future__ import annotations

from pathlib import Path

import pytest

from workloads.errors import TraceError
from workloads.shapes import ConversationShape, Tally
from workloads.traces.burstgpt import EMPTY, FAILED, OVERLAP, RESET, read_burstgpt

PLAIN = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
SESSIONS = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
)


def read(folder: Path, text: str, tally: Tally | None = None) -> list[ConversationShape]:
    path = folder / "b.csv"
    path.write_text(text)
    return list(read_burstgpt(path, Tally() if tally is None else tally))


def lengths(conversations: list[ConversationShape]) -> list[list[tuple[int, int]]]:
    return [
        [(turn.num_new_prompt_tokens, turn.num_output_tokens) for turn in conversation.turns]
        for conversation in conversations
    ]


def test_without_sessions_each_request_stands_alone(tmp_path: Path) -> None:
    rows = "5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,230,1317,API log\n"
    conversations = read(tmp_path, PLAIN + rows)
    assert lengths(conversations) == [[(472, 18)], [(1087, 230)]]
    assert [c.start_us for c in conversations] == [5_000_000, 45_000_000]


def test_failed_and_empty_requests_are_skipped_and_counted(tmp_path: Path) -> None:
    tally = Tally()
    rows = "5,ChatGPT,472,0,472,x\n6,ChatGPT,0,0,0,x\n7,ChatGPT,0,3,3,x\n8,ChatGPT,2,3,5,x\n"
    assert lengths(read(tmp_path, PLAIN + rows, tally)) == [[(2, 3)]]
    assert tally == {FAILED: 2, EMPTY: 1}


def session_row(at: float, session: str, elapsed: float, request: int, response: int) -> str:
    return f"{at},{session},{elapsed},GPT-4,{request},{response},{request + response},x\n"


def test_sessions_are_linked_and_pauses_exclude_the_answer(tmp_path: Path) -> None:
    tally = Tally()
    rows = [
        session_row(10.0, "a", 2, 100, 20),
        session_row(11.0, "b", 1, 7, 7),
        session_row(15.5, "a", 4, 150, 10),
        session_row(16.0, "a", 1, 170, 10),
    ]
    first, second = read(tmp_path, SESSIONS + "".join(rows), tally)
    assert lengths([first, second]) == [[(100, 20), (30, 10), (10, 10)], [(7, 7)]]
    assert [turn.gap_us for turn in first.turns] == [None, 3_500_000, 0]
    assert tally[OVERLAP] == 1


def test_a_request_not_longer_than_its_history_starts_a_new_conversation(tmp_path: Path) -> None:
    tally = Tally()
    rows = [session_row(1, "a", 0, 100, 20), session_row(2, "a", 0, 120, 3)]
    assert lengths(read(tmp_path, SESSIONS + "".join(rows), tally)) == [[(100, 20)], [(120, 3)]]
    assert tally[RESET] == 1


def test_rows_without_a_session_are_not_joined(tmp_path: Path) -> None:
    rows = [session_row(1, "", 0, 100, 20), session_row(2, "", 0, 150, 3)]
    assert len(read(tmp_path, SESSIONS + "".join(rows))) == 2


def test_a_bad_row_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"b\.csv:2: Request tokens must be a whole number ≥ 0"):
        read(tmp_path, PLAIN + "5,ChatGPT,many,18,490,x\n")
