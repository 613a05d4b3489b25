"""Plans in virtual time: every instant follows from the plan and the engine's steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from engines.core.engine import Engine
from engines.core.request import Request
from engines.simulated.settings import SimulatedSettings
from engines.terms import Slo, Terms
from suite.playing.simulate import simulate
from suite.records.engine_logs import read_engine_logs
from suite.records.play_result import PlayResult
from suite.records.turn_records import TurnRecord, read_started_at, read_turns
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.spec import WorkloadSpec


def plan_of(num_conversations: int = 6, **changes: object) -> Plan:
    spec = {
        "name": "small",
        "seed": 3,
        "conversations": {
            "source": "sharegpt-like",
            "count": num_conversations,
            "max_context_tokens": 2048,
            "length_scale": 0.2,
        },
        "arrivals": {"process": "poisson", "rate": 2.0},
        "think_time": {"distribution": "lognormal", "median": "1s", "sigma": 1.0},
        "users": {"all": {"share": 1, "slo": {"ttft": "2s", "tbt": "500ms", "attainment": 0.9}}},
        "priorities": {"pattern": "random", "levels": 8, "update_frequency": 0.04},
        "engines": {"any": {"kind": "simulated"}},
        **changes,
    }
    return build_plan(WorkloadSpec.model_validate(spec), Path.cwd())


def settings_of(preset: str = "fastswitch", **changes: object) -> SimulatedSettings:
    fields = {"kv_tokens": 2048, "swap_tokens": 20_480, "max_batch_tokens": 512, **changes}
    settings = SimulatedSettings(profile="a10-llama3-8b", preset=preset, **fields)
    return settings.resolve(None)


def played(
    plan: Plan, directory: Path, *, preset: str = "fastswitch", timeout_s: float = 1e9, **changes
) -> tuple[PlayResult, list[TurnRecord]]:
    settings = settings_of(preset, **changes)
    result = simulate(plan, settings, directory, turn_timeout_s=timeout_s)
    return result, read_turns(directory / "turns.parquet")


def test_turns_are_due_when_the_plan_says_and_get_all_they_were_promised(tmp_path: Path) -> None:
    plan = plan_of()
    result, records = played(plan, tmp_path)
    assert result.counts.recorded == plan.num_turns and result.counts.failed == 0
    assert (result.stopped_by, read_started_at(tmp_path / "turns.parquet")) == (None, 0.0)
    of = {(each.conversation_id, each.turn): each for each in records}
    for conversation in plan.conversations:
        history, due_at = 0, conversation.start_at_s
        for number, turn in enumerate(conversation.turns):
            record = of[conversation.conversation_id, number]
            if number:
                due_at += turn.think_time_s
            assert (record.scheduled_at, record.sent_at) == (
                pytest.approx(due_at),
                pytest.approx(due_at),
            )
            history += len(turn.new_prompt_token_ids)
            assert record.num_prompt_tokens == history
            assert len(record.token_at) == record.num_output_tokens == turn.num_output_tokens
            assert all(before < after for before, after in pairwise(record.token_at))
            assert (
                record.scheduled_at < record.token_at[0] and record.done_at == record.token_at[-1]
            )
            history += turn.num_output_tokens
            due_at = record.done_at
    in_order = [(each.scheduled_at, each.conversation_id) for each in records]
    assert in_order == sorted(in_order)


def test_the_logs_are_those_of_the_embedded_engine(tmp_path: Path) -> None:
    plan = plan_of()
    _, records = played(plan, tmp_path)
    logs = read_engine_logs(tmp_path)
    assert logs.steps is not None and logs.requests is not None and logs.transfers is not None
    num_tokens = sum(each.num_output_tokens or 0 for each in records)
    assert sum(logs.steps["num_finished"].to_pylist()) == plan.num_turns == len(logs.requests)
    ends = zip(logs.steps["at"].to_pylist(), logs.steps["duration_s"].to_pylist(), strict=True)
    ended_at = {at + duration_s for at, duration_s in ends}
    instants = {at for each in records for at in each.token_at}
    assert len(instants) <= len(ended_at) and max(instants) == pytest.approx(max(ended_at))
    assert sum(logs.requests["num_output_tokens"].to_pylist()) == num_tokens
    assert len(logs.transfers) > 0, "nothing was kept for a next turn"


def test_a_closed_loop_holds_so_many_conversations_in_the_plans_order(tmp_path: Path) -> None:
    plan = plan_of(
        arrivals={"process": "closed", "concurrency": 2}, think_time={"distribution": "none"}
    )
    _, records = played(plan, tmp_path)
    first = {each.conversation_id: each.scheduled_at for each in records if each.turn == 0}
    ended_at: dict[str, float] = {}
    for each in records:
        assert each.done_at is not None
        ended_at[each.conversation_id] = max(ended_at.get(each.conversation_id, 0), each.done_at)
    names = [each.conversation_id for each in plan.conversations]
    assert [first[name] for name in names[:2]] == [0.0, 0.0]
    assert [first[name] for name in names] == sorted(first.values())
    for name in names[2:]:  # starts when another has ended, and then two go on
        assert first[name] in ended_at.values()
        assert sum(first[n] <= first[name] < ended_at[n] for n in names) == 2


def test_a_late_turn_is_given_up_at_its_deadline_and_ends_its_conversation(tmp_path: Path) -> None:
    plan = plan_of(10, arrivals={"process": "constant", "rate": 1000.0})
    result, records = played(plan, tmp_path, timeout_s=1.5)
    late = [each for each in records if each.error is not None]
    assert late and len(late) == result.counts.failed
    for each in late:
        assert each.error == "the answer was not complete after 1.5 s"
        assert each.done_at == each.scheduled_at + 1.5
        assert all(at <= each.done_at for at in each.token_at)
        assert each.num_output_tokens is None and each.finish_reason is None
    followed = {(each.conversation_id, each.turn) for each in records}
    assert not any((each.conversation_id, each.turn + 1) in followed for each in late)
    assert result.counts.lost == plan.num_turns - len(records)


def test_a_bound_of_virtual_time_keeps_what_there_is(tmp_path: Path) -> None:
    plan = plan_of()
    result, records = played(plan, tmp_path, max_virtual_time_s=1.0)
    assert (result.stopped_by, result.note) == ("caller", "max_virtual_time_s 1 was reached")
    assert 0 < len(records) == result.counts.recorded < plan.num_turns
    for each in records:
        cut = each.error == "cut short: max_virtual_time_s 1 was reached"
        assert cut or (each.error is None and each.done_at is not None and each.done_at <= 1.1)
    assert any(each.error and each.token_at for each in records), "what had come is kept"


def test_a_bound_of_wall_time_ends_it_too(tmp_path: Path) -> None:
    result, _ = played(plan_of(), tmp_path, max_wall_time_s=1e-9)
    assert (result.stopped_by, result.note) == ("caller", "max_wall_time_s 1e-09 was reached")
    assert (result.counts.recorded, read_engine_logs(tmp_path).steps is not None) == (0, True)


def test_nothing_to_play_is_nothing_recorded(tmp_path: Path) -> None:
    plan = plan_of(1)
    _, records = played(plan, tmp_path, max_virtual_time_s=1e-12)
    assert records == []


def test_the_engine_hears_who_asks_and_what_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: dict[str, Terms] = {}
    submit = Engine.submit

    def listen(engine: Engine, request: Request) -> None:
        heard[request.request_id] = request.terms
        submit(engine, request)

    monkeypatch.setattr(Engine, "submit", listen)
    plan = plan_of()
    played(plan, tmp_path)
    slo = Slo(ttft_s=2.0, tbt_s=0.5, tbt_percentile=0.99)
    assert heard == {
        f"{each.conversation_id}/{number}": Terms(user_id=each.user_id, user_class="all", slo=slo)
        for each in plan.conversations
        for number in range(len(each.turns))
    }


def test_a_closed_loop_ends_by_time_and_what_it_did_not_begin_is_counted(tmp_path: Path) -> None:
    """Played to the end of the same plan without a time, the turns that were due within it are the
    same to the bit, and no others are asked."""
    loop = {"arrivals": {"process": "closed", "concurrency": 3}}
    for each in ("whole", "timed"):
        (tmp_path / each).mkdir()
    timed = plan_of(40, **loop)
    whole, all_records = played(timed, tmp_path / "whole")
    timed = replace(timed, closed_duration_s=whole.duration_s / 3)
    result, records = played(timed, tmp_path / "timed")
    ends_at = timed.closed_duration_s
    assert ends_at is not None
    assert {(each.conversation_id, each.turn) for each in records} == {
        (each.conversation_id, each.turn) for each in all_records if each.scheduled_at < ends_at
    }
    assert any(each.done_at is not None and each.done_at > ends_at for each in records)
    assert all(each.error is None for each in records)
    counts = result.counts
    assert counts.not_begun > 0 and (counts.lost, counts.failed, counts.cut) == (0, 0, 0)
    assert counts.planned == counts.recorded + counts.not_begun
    assert (result.stopped_by, result.ran_out_at_s) == (None, None)


def test_a_plan_that_is_used_up_before_its_time_is_told(tmp_path: Path) -> None:
    plan = plan_of(6, arrivals={"process": "closed", "concurrency": 2})
    plan = replace(plan, closed_duration_s=1e6)
    result, records = played(plan, tmp_path)
    assert (result.counts.not_begun, result.counts.recorded) == (0, plan.num_turns)
    ends = sorted(
        max(each.done_at or 0.0 for each in records if each.conversation_id == name)
        for name in {each.conversation_id for each in records}
    )
    assert result.ran_out_at_s == ends[-2]  # the one of two that found nobody to follow it
