"""Branches in a plan: who holds them, what the limits leave of them, and what the file keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.workloads.examples import counts, lengths, small_plan
from workloads.branches import Branches
from workloads.conversations import CUT_BRANCHES
from workloads.plan import Plan
from workloads.plan_parts import Branch

USERS = "users={all: {share: 1.0, slo: {ttft: 1s, tbt: 1s, attainment: 0.5}}}"


def said(role: str, tokens: int = 10, **more: object) -> dict[str, object]:
    return {"role": role, "content": "words", "tokens": tokens} | more


def talk(num_turns: int, **more: object) -> dict[str, Any]:
    messages = [said(role, 10) for _ in range(num_turns) for role in ("user", "assistant")]
    return {"messages": messages} | more


TREE = talk(
    3,
    branches=[
        talk(2, after=1, branches=[talk(1, after=2)]),
        talk(1, after=3, history=False),
    ],
)


def planned(folder: Path, *items: dict[str, Any], extra: str = "") -> Plan:
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, items)))
    source = f"{{trace: messages, path: {folder}/m.jsonl{extra}}}"
    arrivals = "arrivals={process: constant, rate: 1.0}"
    return small_plan(folder, f"conversations={source}", arrivals, USERS)


def test_branches_stand_after_what_they_leave_and_belong_to_its_user(tmp_path: Path) -> None:
    plan = planned(tmp_path, TREE, talk(1))
    names = [each.conversation_id for each in plan.conversations]
    assert names == [f"c{k:05d}" for k in range(5)]
    assert [each.branch for each in plan.conversations] == [
        None,
        Branch(conversation_id="c00000", turn=0, keeps_history=True),
        Branch(conversation_id="c00001", turn=1, keeps_history=True),
        Branch(conversation_id="c00000", turn=2, keeps_history=False),
        None,
    ]
    assert [each.start_at_s for each in plan.conversations] == [0, 0, 0, 0, 1]
    users = [each.user_id for each in plan.conversations]
    assert len(set(users[:4])) == 1 and users[4] != users[0]
    assert plan.priorities is not None and plan.priorities.levels.shape[1] == 5
    first = [each.turns[0].think_time_s for each in plan.conversations]
    assert first[0] == first[4] == 0 and all(time > 0 for time in first[1:4])


def test_the_plan_file_keeps_branches_and_the_digest_knows_them(tmp_path: Path) -> None:
    plan = planned(tmp_path, TREE)
    plan.write(tmp_path / "plan.parquet")
    read = Plan.read(tmp_path / "plan.parquet")
    assert [each.branch for each in read.conversations] == [
        each.branch for each in plan.conversations
    ]
    third = [said("tool", waits=True), said("assistant")]
    waits = {**TREE, "messages": [*TREE["messages"][:4], *third]}
    less = {**TREE, "branches": TREE["branches"][:1]}
    digests = {planned(tmp_path, item).digest for item in (TREE, less, waits)}
    assert len(digests) == 3


def test_limits_count_what_was_said_before_a_branch(tmp_path: Path) -> None:
    """Of the tree's contexts 20, 40, 60: the branch after the first turn has 40 and 60, its own
    branch 80; the one without a history 20."""
    for limit, sizes in ((80, [3, 2, 1, 1]), (60, [3, 2, 1]), (40, [2, 1]), (20, [1])):
        plan = planned(tmp_path, TREE, extra=f", max_context_tokens: {limit}")
        assert [len(turns) for turns in lengths(plan)] == sizes, limit
    assert counts(plan)[CUT_BRANCHES] == 2
    turns = planned(tmp_path, TREE, extra=", max_turns: 3")
    assert [len(each) for each in lengths(turns)] == [3, 2, 1]


def test_what_can_not_begin_without_an_answer_is_known(tmp_path: Path) -> None:
    branches = Branches(planned(tmp_path, TREE, talk(1)).conversations)
    assert list(branches.after("c00000", 0)) == [1]
    assert list(branches.after("c00000", 1)) == []
    assert list(branches.behind("c00000", 0)) == [1, 2, 3]
    assert list(branches.behind("c00000", 1)) == [3]
    assert list(branches.session(0)) == [0, 1, 2, 3]
    assert branches.num_turns_behind("c00000", 0) == 4
