"""Branching sessions in virtual time, against what the plan says they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.records.turn_records import TurnRecord
from tests.suite.virtual.test_player import plan_of, played
from workloads.plan import Plan
from workloads.plan_summary import summarise

DELAY_S = 0.5
NUM = 20  # tokens of each message, and of each answer


def said(role: str, **more: object) -> dict[str, object]:
    return {"role": role, "content": "words", "tokens": NUM} | more


def asks(role: str = "user", **more: object) -> list[dict[str, object]]:
    return [said(role, delay_s=DELAY_S, **more), said("assistant")]


SESSION = {
    "messages": [said("system"), *asks(), *asks("tool"), *asks("tool", waits=True), *asks()],
    "branches": [
        {"after": 1, "messages": [*asks(), *asks()]},
        {"after": 2, "history": False, "messages": [said("system"), *asks()]},
        {"after": 4, "messages": [said("system", replaces=True), *asks()]},
    ],
}


def sessions(folder: Path, num: int = 2, **changes: object) -> Plan:
    path = folder / "sessions.jsonl"
    path.write_text("\n".join([json.dumps(SESSION)] * num))
    conversations = {"trace": "messages", "path": str(path)}
    arrivals = changes.pop("arrivals", {"process": "constant", "rate": 0.5})
    return plan_of(
        conversations=conversations, arrivals=arrivals, priorities={"pattern": "none"}, **changes
    )


def by_turn(records: list[TurnRecord]) -> dict[tuple[str, int], TurnRecord]:
    return {(each.conversation_id, each.turn): each for each in records}


def done_at(record: TurnRecord) -> float:
    assert record.done_at is not None
    return record.done_at


def check_instants(plan: Plan, of: dict[tuple[str, int], TurnRecord]) -> None:
    for session in range(0, len(plan.conversations), 4):
        root, kept, fresh, last = (f"c{session + k:05d}" for k in range(4))
        for conversation, turn, before in (
            (root, 1, (root, 0)),
            (kept, 0, (root, 0)),
            (kept, 1, (kept, 0)),
            (fresh, 0, (root, 1)),
            (root, 3, (root, 2)),
            (last, 0, (root, 3)),
        ):
            due_at = done_at(of[before]) + DELAY_S
            assert of[conversation, turn].scheduled_at == pytest.approx(due_at), (
                conversation,
                turn,
            )
        waited_for = max(done_at(of[place]) for place in ((root, 1), (kept, 1), (fresh, 0)))
        assert of[root, 2].scheduled_at == pytest.approx(waited_for + DELAY_S)


def check_prompts(of: dict[tuple[str, int], TurnRecord], *, extra: int = 0) -> None:
    """Messages and answers, 20 tokens each: the system prompt, a question, …"""
    assert [of["c00000", k].num_prompt_tokens for k in range(4)] == [40, 80, 120, 160]
    assert [of["c00001", k].num_prompt_tokens for k in range(2)] == [80, 120]
    assert of["c00002", 0].num_prompt_tokens == 40
    assert of["c00003", 0].num_prompt_tokens == 200  # another system prompt in place of the first


def test_a_session_branches_joins_and_remembers_as_planned(tmp_path: Path) -> None:
    plan = sessions(tmp_path)
    result, records = played(plan, tmp_path, reuse="prefix", preemption="recompute")
    assert result.counts.recorded == plan.num_turns == 16 and result.counts.failed == 0
    of = by_turn(records)
    check_instants(plan, of)
    check_prompts(of)
    # A branch finds what it goes on from in the cache; one without a history nothing of it; and one
    # with another system prompt before it neither.
    assert (of["c00001", 0].num_cached_tokens or 0) >= 32
    assert of["c00002", 0].num_cached_tokens == 0
    assert of["c00003", 0].num_cached_tokens == 0


def test_in_a_closed_loop_a_session_is_over_when_all_of_it_is(tmp_path: Path) -> None:
    plan = sessions(tmp_path, 3, arrivals={"process": "closed", "concurrency": 1})
    result, records = played(plan, tmp_path)
    assert result.counts.recorded == plan.num_turns
    of = by_turn(records)
    for session in (4, 8):
        ends = [done_at(of[key]) for key in of if session - 4 <= int(key[0][1:]) < session]
        assert of[f"c{session:05d}", 0].scheduled_at == max(ends)


def test_what_a_failed_turn_kept_from_beginning_is_counted_as_not_asked(tmp_path: Path) -> None:
    plan = sessions(tmp_path, 1)
    result, records = played(plan, tmp_path, timeout_s=1e-6)
    assert len(records) == result.counts.failed == 1
    assert result.counts.not_asked == result.counts.lost == plan.num_turns - 1


def test_the_plan_foretells_each_turns_whole_prompt(tmp_path: Path) -> None:
    """Branches and other system prompts too: it is held against what an engine can hold."""
    plan = sessions(tmp_path)
    _, records = played(plan, tmp_path)
    contexts = [(r.num_prompt_tokens or 0) + (r.num_output_tokens or 0) for r in records]
    summary = summarise(plan)
    assert summary.context_tokens.maximum == max(contexts) == 220
    assert summary.context_tokens.mean == pytest.approx(sum(contexts) / len(contexts))
    new = sum(turn.new_prompt_token_ids.size for each in plan.conversations for turn in each.turns)
    prompts = sum(record.num_prompt_tokens or 0 for record in records)
    assert summary.num_history_tokens == prompts - new
