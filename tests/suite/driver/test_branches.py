"""Branching sessions against a real server, with the instants and prompts of virtual time's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.api import Endpoint
from tests.suite.driver.conftest import Played, ScriptedEngine
from tests.suite.virtual.test_branches import (
    by_turn,
    check_instants,
    check_prompts,
    done_at,
    sessions,
)
from workloads.plan import Plan

DriveInProcess = Callable[..., Played]


def renamed(plan: Plan, prefix: str) -> Plan:
    """With ids that the engine, which counts each conversation's turns for good, does not know."""
    conversations = tuple(
        replace(
            each,
            conversation_id=prefix + each.conversation_id,
            branch=each.branch
            and replace(each.branch, conversation_id=prefix + each.branch.conversation_id),
        )
        for each in plan.conversations
    )
    return replace(plan, conversations=conversations)


def quick(plan: Plan) -> Plan:
    """With delays of a tenth: what is checked does not depend on them."""
    return replace(
        plan,
        conversations=tuple(
            replace(
                each,
                turns=tuple(
                    replace(turn, think_time_s=turn.think_time_s / 10) for turn in each.turns
                ),
            )
            for each in plan.conversations
        ),
    )


def test_a_session_branches_joins_and_remembers_as_planned(
    engine: ScriptedEngine, tmp_path: Path, drive_in_process: DriveInProcess
) -> None:
    plan = sessions(tmp_path, arrivals={"process": "constant", "rate": 50.0})
    played = drive_in_process(renamed(plan, "wall-"), engine.endpoint(gap_s=0.001))
    of = {
        (name.removeprefix("wall-"), turn): r for (name, turn), r in by_turn(played.records).items()
    }
    assert len(of) == plan.num_turns and all(each.error is None for each in of.values())
    check_instants(plan, of)
    check_prompts(of)


def test_in_a_closed_loop_a_session_is_over_when_all_of_it_is(
    engine: ScriptedEngine, tmp_path: Path, drive_in_process: DriveInProcess
) -> None:
    closed = {"process": "closed", "concurrency": 1}
    plan = quick(sessions(tmp_path, 2, arrivals=closed))
    played = drive_in_process(renamed(plan, "closed-"), engine.endpoint(gap_s=0.001))
    of = {(name[-6:], turn): r for (name, turn), r in by_turn(played.records).items()}
    assert len(of) == plan.num_turns
    ends = [done_at(each) for (name, _), each in of.items() if name < "c00004"]
    assert of["c00004", 0].planned_at == max(ends)


def test_a_stopped_run_leaves_no_branch_behind(
    engine: ScriptedEngine, tmp_path: Path, drive_in_process: DriveInProcess
) -> None:
    """What is in flight is recorded, what waits for it is not asked, and the driver returns."""
    plan = sessions(tmp_path, 1)
    path = engine.truth_path
    before = len(path.read_text().splitlines())
    played = drive_in_process(
        renamed(plan, "stopped-"),
        engine.endpoint(gap_s=0.001),
        stop_when=lambda: len(path.read_text().splitlines()) > before + 1,
    )
    assert 2 <= len(played.records) < plan.num_turns


@pytest.mark.parametrize("fault", ["500"])
def test_nothing_branches_off_from_an_answer_that_failed(
    engine: ScriptedEngine, tmp_path: Path, drive_in_process: DriveInProcess, fault: str
) -> None:
    plan = sessions(tmp_path, 1)
    to: Endpoint = engine.endpoint(fault=fault, fault_turn=0)
    (record,) = drive_in_process(renamed(plan, "failed-"), to).records
    assert (record.turn, record.error is None) == (0, False)
