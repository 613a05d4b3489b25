"""What a trial may find in a cache, and what only another can have left there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.judging.gate_syntax import parse_gate
from suite.judging.gates import Outcome, evaluate
from suite.judging.metrics_file import measure, measure_run
from suite.judging.sides import EngineSide, against
from suite.judging.stored_baselines import read_baseline, write_baseline
from suite.judging.verdicts import compare_sides
from suite.measuring.cache_isolation import NOTE, SLACK_TOKENS
from suite.measuring.shared_prefixes import shared_ratios
from suite.records.run_directory import SOLO_FOLDER, Isolation, Manifest
from suite.records.turn_records import TurnRecord
from tests.reports.synthetic_run import make_manifest, make_trial
from tests.turn_files import write_turns
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass

NUM_NEW, NUM_ANSWER = 100, 20


def turn(ids: Sequence[int], text: str | None = None, *, num_answer: int = NUM_ANSWER) -> Turn:
    return Turn(
        new_prompt_token_ids=np.array(ids, dtype=np.int32),
        prompt_text=text,
        num_output_tokens=num_answer,
        think_time_s=0.0,
    )


def plan_of(*conversations: Sequence[Turn]) -> Plan:
    slo = Slo(ttft_s=1.0, tbt_s=1.0, tbt_percentile=0.99, attainment_ratio=0.5)
    return Plan(
        name="cached",
        seed=1,
        user_classes=(UserClass(name="standard", share_ratio=1.0, slo=slo),),
        conversations=tuple(
            Conversation(
                conversation_id=f"c{number}",
                user_id=f"u{number}",
                user_class="standard",
                start_at_s=float(number),
                turns=tuple(turns),
            )
            for number, turns in enumerate(conversations)
        ),
        closed_concurrency=None,
        priorities=None,
    )


def two_turns(first: int) -> list[Turn]:
    return [turn(range(first, first + NUM_NEW)), turn(range(first + 500, first + 500 + NUM_NEW))]


PLAN = plan_of(two_turns(1000), two_turns(3000))


def records_of(
    plan: Plan, cached: dict[tuple[int, int], int | None], *, extra: int = 0, ttft_s: float = 0.1
) -> list[TurnRecord]:
    """`cached` by conversation and turn, else the history; `extra` tokens before all prompts."""
    found = []
    for number, conversation in enumerate(plan.conversations):
        num_prompt = extra
        for k, each in enumerate(conversation.turns):
            history = num_prompt if k else 0
            text = each.prompt_text
            num_prompt += len(each.new_prompt_token_ids) if text is None else len(text.split())
            sent_at = number + 0.3 * k
            found.append(
                TurnRecord(
                    conversation_id=conversation.conversation_id,
                    turn=k,
                    user_id=conversation.user_id,
                    user_class="standard",
                    priority=None,
                    planned_output_tokens=NUM_ANSWER,
                    scheduled_at=sent_at,
                    sent_at=sent_at,
                    token_at=(sent_at + ttft_s, sent_at + 0.2),
                    tokens_per_chunk=(NUM_ANSWER // 2, NUM_ANSWER - NUM_ANSWER // 2),
                    done_at=sent_at + 0.2,
                    num_prompt_tokens=num_prompt,
                    num_cached_tokens=cached.get((number, k), history),
                    num_output_tokens=NUM_ANSWER,
                    num_coalesced=0,
                    time_source="kernel",
                    finish_reason="length",
                    error=None,
                )
            )
            num_prompt += NUM_ANSWER
    return found


def run_of(
    path: Path,
    plan: Plan,
    parts: dict[str, list[list[TurnRecord]]],
    *,
    by: Any = None,
    gates: tuple[str, ...] = (),
) -> Path:
    """`parts`: for each engine the records of its repeats."""
    path.mkdir(parents=True, exist_ok=True)
    plan.write(path / "plan.parquet")
    made = []
    for name, repeats in parts.items():
        for repeat, records in enumerate(repeats, start=1):
            trial = make_trial(plan, records, name, repeat)
            trial = trial.model_copy(update={"isolation": by and Isolation(by=by)})
            trial.directory(path).mkdir(parents=True)
            write_turns(trial.directory(path) / "turns.parquet", records, started_at_monotonic_s=0)
            made.append(trial)
    count = max(len(repeats) for repeats in parts.values())
    manifest = make_manifest(
        plan, list(parts), made, repeats=count, gates=gates, baseline=next(iter(parts))
    )
    manifest.write(path)
    return path


def checked(tmp_path: Path, plan: Plan, records: list[TurnRecord], **options: Any) -> Any:
    run = run_of(tmp_path, plan, {"mine": [records]}, **options)
    engine = measure(run)["engines"]["mine"]
    return engine["prefix_cache"], engine["warnings"]


def test_a_conversations_own_history_is_not_warm(tmp_path: Path) -> None:
    found, warnings = checked(tmp_path, PLAN, records_of(PLAN, {}))
    assert found == {
        "is_isolated": True,
        "is_solo_isolated": None,
        "num_warm_turns": 0,
        "num_warm_tokens": 0,
        "warm_tokens_ratio": 0.0,
    }
    assert warnings == []


@pytest.mark.parametrize(
    ("place", "own"), [((0, 0), 0), ((1, 0), 0), ((0, 1), NUM_NEW + NUM_ANSWER)]
)
@pytest.mark.parametrize("beyond", [0, SLACK_TOKENS, SLACK_TOKENS + 1, NUM_NEW])
def test_a_turn_is_warm_from_the_first_token_beyond_the_slack(
    tmp_path: Path, place: tuple[int, int], own: int, beyond: int
) -> None:
    found, warnings = checked(tmp_path, PLAN, records_of(PLAN, {place: own + beyond}))
    is_warm = beyond > SLACK_TOKENS
    assert (found["num_warm_turns"], found["num_warm_tokens"]) == (is_warm, is_warm * beyond)
    assert found["is_isolated"] is not is_warm
    assert len(warnings) == is_warm


def test_the_warning_has_the_figures_and_the_remedy(tmp_path: Path) -> None:
    cached = {(0, 0): 96, (1, 0): 96}
    _, [warning] = checked(tmp_path, PLAN, records_of(PLAN, cached), by="shared")
    assert warning.startswith(
        "repeat 1, prefix cache: in 2 turns of 4 the server found 192 prompt tokens (30% of all)"
    )
    assert warning.endswith("set prefix_cache: isolate")


def test_what_stands_before_every_prompt_is_nobodys_find(tmp_path: Path) -> None:
    """A chat template, and the trial's own words."""
    found, _ = checked(tmp_path, PLAN, records_of(PLAN, {(1, 0): 40 + SLACK_TOKENS}, extra=40))
    assert found["is_isolated"]
    run = tmp_path / "warm"
    found, _ = checked(run, PLAN, records_of(PLAN, {(1, 0): 40 + NUM_NEW}, extra=40))
    assert (found["is_isolated"], found["num_warm_tokens"]) == (False, NUM_NEW)


def test_a_server_that_tells_nothing_is_not_judged_but_said_where_it_is_shared(
    tmp_path: Path,
) -> None:
    silent = dict.fromkeys(itertools.product((0, 1), (0, 1)), None)
    records = records_of(PLAN, silent)
    found, warnings = checked(tmp_path / "isolated", PLAN, records, by="words")
    assert (found["is_isolated"], found["warm_tokens_ratio"], warnings) == (None, None, [])
    _, [warning] = checked(tmp_path / "shared", PLAN, records, by="shared")
    assert "does not say what it found there" in warning


def test_a_turn_whose_last_one_left_no_record_is_not_judged(tmp_path: Path) -> None:
    plan = plan_of([*two_turns(1000), turn(range(2000, 2000 + NUM_NEW))])
    for lost in (0, 1):
        records = [each for each in records_of(plan, {}) if each.turn != lost]
        found, _ = checked(tmp_path / str(lost), plan, records)
        assert found["is_isolated"]


def test_what_conversations_share_by_plan_is_rightly_found(tmp_path: Path) -> None:
    same, other = list(range(1000, 1060)), list(range(2000, 2040))
    plan = plan_of([turn(same + other)], [turn([*same, *range(5000, 5040)])], two_turns(3000))
    found, _ = checked(tmp_path / "shared", plan, records_of(plan, {(1, 0): 60}))
    assert found["is_isolated"]
    found, _ = checked(tmp_path / "more", plan, records_of(plan, {(1, 0): 96}))
    assert (found["is_isolated"], found["num_warm_tokens"]) == (False, 36)


def test_a_conversation_held_twice_may_find_itself(tmp_path: Path) -> None:
    plan = plan_of(two_turns(1000), two_turns(1000))
    whole = 2 * NUM_NEW + NUM_ANSWER
    found, _ = checked(tmp_path, plan, records_of(plan, {(1, 0): NUM_NEW, (1, 1): whole}))
    assert found["is_isolated"]


TURNS = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(1, 2)),
    min_size=1,
    max_size=3,
)


@given(st.lists(TURNS, min_size=1, max_size=5))
def test_shared_ratios_are_those_of_the_slow_twin(
    shapes: list[list[tuple[list[int], int]]],
) -> None:
    """Every pair, turn by turn and id by id."""
    plan = plan_of(*([turn(ids, num_answer=num) for ids, num in each] for each in shapes))
    expected: dict[tuple[str, int], float] = {}
    for i, k in itertools.permutations(range(len(shapes)), 2):
        for number, ((mine, num), (other, other_num)) in enumerate(
            zip(shapes[i], shapes[k], strict=False)
        ):
            same = list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(mine, other)))  # noqa: B905
            key = (f"c{i}", number)
            if same:
                expected[key] = max(expected.get(key, 0.0), len(same) / len(mine))
            if mine != other or num != other_num:
                break
    assert shared_ratios(plan) == pytest.approx(expected)


def test_texts_share_by_what_they_say() -> None:
    plan = plan_of([turn([], "abcdef")], [turn([], "abcxyzw?")], [turn([], "z")])
    assert shared_ratios(plan) == {("c0", 0): 0.5, ("c1", 0): 3 / 8}


WARM = {(0, 0): 96, (1, 0): 96}


def test_gates_and_comparisons_with_a_warm_engine_are_open_and_say_why(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        PLAN,
        {"cold": [records_of(PLAN, {})], "warm": [records_of(PLAN, WARM, ttft_s=0.001)]},
        gates=(
            "slo.users_within_slo_ratio >= 0.1",
            "ttft.max <= 1.05 * baseline",
            "counts.failed <= 0",
        ),
    )
    metrics = measure(run)
    outcomes = {
        (each["gate"].split(" ")[0], each["engine"]): (each["outcome"], each["reason"])
        for each in metrics["gates"]
    }
    assert outcomes["slo.users_within_slo_ratio", "warm"] == ("inconclusive", NOTE)
    assert outcomes["ttft.max", "warm"] == ("inconclusive", NOTE)
    assert outcomes["slo.users_within_slo_ratio", "cold"][1] != NOTE
    assert outcomes["counts.failed", "warm"] == ("pass", "")
    assert all(each["more_repeats"] is None for each in metrics["gates"] if each["reason"] == NOTE)
    entries = metrics["comparisons"]["warm"]
    assert {each["verdict"] for each in entries} == {"unclear", "same", "missing"}
    assert {each["reason"] for each in entries if each["verdict"] == "unclear"} == {NOTE}


def test_one_warm_repeat_is_enough(tmp_path: Path) -> None:
    cold, warm = records_of(PLAN, {}), records_of(PLAN, WARM)
    run = run_of(tmp_path, PLAN, {"mine": [cold, warm]}, gates=("ttft.max <= 10s",))
    metrics = measure(run)
    assert [each["outcome"] for each in metrics["gates"]] == ["inconclusive"]
    [warning] = metrics["engines"]["mine"]["warnings"]
    assert warning.startswith("repeat 2, prefix cache: in 2 turns of 4")


def test_a_warm_solo_run_opens_slowdowns_alone(tmp_path: Path) -> None:
    gates = ("ttft.max <= 10s", "fairness.slowdown_max <= 10")
    run = run_of(tmp_path, PLAN, {"mine": [records_of(PLAN, {})]}, gates=gates)
    run_of(run / SOLO_FOLDER, PLAN, {"mine": [records_of(PLAN, WARM)]})
    metrics = measure(run)
    assert [each["outcome"] for each in metrics["gates"]] == ["pass", "inconclusive"]
    found = metrics["engines"]["mine"]["prefix_cache"]
    assert (found["is_isolated"], found["is_solo_isolated"]) == (True, False)
    assert any(
        "the solo run, prefix cache" in text for text in metrics["engines"]["mine"]["warnings"]
    )


def test_a_stored_baseline_remembers_that_it_was_warm(tmp_path: Path) -> None:
    warm = measure_run(run_of(tmp_path / "warm", PLAN, {"mine": [records_of(PLAN, WARM)]}))
    write_baseline(warm, tmp_path / "warm.json")
    cold = measure_run(run_of(tmp_path / "cold", PLAN, {"mine": [records_of(PLAN, {})]}))
    stored = read_baseline(tmp_path / "warm.json").engines
    sides = {"mine": EngineSide("mine", cold.numbers["mine"], None)}
    [outcome] = evaluate([parse_gate("ttft.max <= 2 * baseline")], sides, stored)
    assert (outcome.outcome, outcome.reason) == (Outcome.INCONCLUSIVE, NOTE)


def test_runs_of_before_it_was_told_are_judged_as_before(tmp_path: Path) -> None:
    """An old manifest says nothing of isolation, an old metrics.json nothing of the cache."""
    run = run_of(tmp_path, PLAN, {"a": [records_of(PLAN, {})], "b": [records_of(PLAN, {})]})
    text = (run / "manifest.json").read_text().replace('"isolation": null', '"repeat": 1')
    (run / "manifest.json").write_text(text)
    assert all(trial.isolation is None for trial in Manifest.read(run).trials)
    numbers = measure_run(run).numbers
    for engine in numbers.values():
        del engine["prefix_cache"]
    sides = {name: EngineSide(name, each, None) for name, each in numbers.items()}
    outcomes = evaluate([parse_gate("ttft.max <= 10s")], sides, against(sides, "a"))
    assert {each.outcome for each in outcomes} == {Outcome.PASS}
    assert {each["reason"] for each in compare_sides(sides["b"], sides["a"])} & {NOTE} == set()


def test_what_failed_before_it_was_counted_is_not_warm(tmp_path: Path) -> None:
    records = records_of(PLAN, {})
    records[0] = replace(
        records[0],
        token_at=(),
        tokens_per_chunk=(),
        num_prompt_tokens=None,
        num_cached_tokens=None,
        num_output_tokens=None,
        error="429",
    )
    found, _ = checked(tmp_path, PLAN, [records[0], *records[2:]])
    assert found["is_isolated"]
