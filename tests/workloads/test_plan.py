from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import small_plan
from workloads.errors import PlanFileError
from workloads.plan import Plan
from workloads.plan_parts import (
    Conversation,
    Note,
    PriorityPattern,
    PriorityTrace,
    Slo,
    Turn,
    UserClass,
)

SLO = Slo(ttft_s=1.0, tbt_s=0.2, tbt_percentile=0.99, attainment_ratio=0.9)


def conversation(name: str, start_us: int, *turns: Turn) -> Conversation:
    return Conversation(
        conversation_id=name,
        user_id=f"user-{name}",
        user_class="all",
        start_at_s=start_us / 1e6,
        turns=turns,
    )


def turn(token_ids: list[int], text: str | None = None, output: int = 2, think: int = 0) -> Turn:
    return Turn(
        new_prompt_token_ids=np.array(token_ids, dtype=np.int32),
        prompt_text=text,
        num_output_tokens=output,
        think_time_s=think / 1e6,
    )


def plan_of(*conversations: Conversation, levels: list[list[int]] | None = None) -> Plan:
    trace = levels and PriorityTrace(
        pattern=PriorityPattern.RANDOM,
        num_levels=4,
        update_frequency=0.04,
        update_interval_s=1.0,
        levels=np.array(levels, dtype=np.uint8),
    )
    return Plan(
        name="p",
        seed=1,
        user_classes=(UserClass(name="all", share_ratio=1.0, slo=SLO),),
        conversations=conversations,
        closed_concurrency=None,
        priorities=trace or None,
        notes=(Note(what="turns cut", count=3),),
    )


def plain(plan: Plan) -> object:
    """Everything in a plan as values that compare."""
    trace = plan.priorities
    rows = [(c, t, t.new_prompt_token_ids) for c in plan.conversations for t in c.turns]
    turns = [
        (replace(c, turns=()), ids.tolist(), ids.dtype, replace(t, new_prompt_token_ids=None))
        for c, t, ids in rows
    ]
    priorities = trace and (
        trace.pattern,
        trace.num_levels,
        trace.update_frequency,
        trace.update_interval_s,
        trace.levels.tolist(),
        trace.levels.dtype,
    )
    whole = (plan.name, plan.seed, plan.user_classes, plan.closed_concurrency, plan.notes)
    return whole, turns, priorities


SMALLEST = plan_of(conversation("a", 5, turn([1, 2], think=7)), levels=[[1], [2]])


@pytest.mark.parametrize(
    "priorities",
    ["{pattern: none}", "{pattern: static}", "{pattern: markov, stay: 0.5, num_updates: 9}"],
)
def test_a_written_plan_is_read_back_exactly(tmp_path: Path, priorities: str) -> None:
    plan = small_plan(tmp_path, f"priorities={priorities}", "arrivals={process: poisson, rate: 3}")
    plan.write(tmp_path / "plan.parquet")
    read = Plan.read(tmp_path / "plan.parquet")
    assert plain(read) == plain(plan)
    assert read.digest == plan.digest


TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=5)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
TURNS = st.builds(turn, TOKENS, TEXTS, st.integers(1, 2**31 - 1), st.integers(0, 10**12))


@given(st.lists(st.lists(TURNS, min_size=1, max_size=3), max_size=4), st.booleans())
def test_any_plan_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, conversations: list[list[Turn]], has_levels: bool
) -> None:
    num = len(conversations)
    plan = plan_of(
        *(conversation(f"c{k}", k, *turns) for k, turns in enumerate(conversations)),
        levels=[[k % 4 for k in range(num)]] * 3 if has_levels and num else None,
    )
    path = tmp_path_factory.mktemp("plan") / "plan.parquet"
    plan.write(path)
    assert plain(Plan.read(path)) == plain(plan)


def test_the_file_has_one_row_a_turn_with_plain_columns(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    plan.write(tmp_path / "plan.parquet")
    table = pq.read_table(tmp_path / "plan.parquet")
    assert table.num_rows == plan.num_turns
    assert (
        table["num_output_tokens"].to_pylist()[0]
        == plan.conversations[0].turns[0].num_output_tokens
    )
    assert table["priority_levels"].null_count == plan.num_turns - len(plan.conversations)


def changed(**values: object) -> Plan:
    first = SMALLEST.conversations[0]
    return replace(SMALLEST, conversations=(replace(first, **values),))


@pytest.mark.parametrize(
    "other",
    [
        replace(SMALLEST, seed=2),
        replace(SMALLEST, closed_concurrency=1),
        replace(SMALLEST, priorities=None),
        replace(SMALLEST, user_classes=()),
        plan_of(conversation("a", 5, turn([1, 2], think=7)), levels=[[1], [3]]),
        changed(conversation_id="b"),
        changed(user_id="b"),
        changed(user_class="b"),
        changed(start_at_s=0.000006),
        changed(turns=(turn([1, 3], think=7),)),
        changed(turns=(turn([1, 2], think=8),)),
        changed(turns=(turn([1, 2], think=7, output=3),)),
        changed(turns=(turn([1, 2], think=7, text=""),)),
        changed(turns=(turn([1, 2], think=7), turn([]))),
    ],
)
def test_the_digest_sees_every_part_of_the_work(other: Plan) -> None:
    assert other.digest != SMALLEST.digest


def test_the_digest_does_not_see_names_and_notes_or_less_than_a_microsecond() -> None:
    assert replace(SMALLEST, name="other", notes=()).digest == SMALLEST.digest
    assert changed(start_at_s=0.0000050000001).digest == SMALLEST.digest


def test_totals_count_new_tokens_only() -> None:
    plan = plan_of(conversation("a", 0, turn([1, 2]), turn([3])), conversation("b", 0, turn([4])))
    assert (plan.num_turns, plan.num_new_prompt_tokens, plan.num_output_tokens) == (3, 4, 6)


def test_a_missing_plan_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match=r"plan\.parquet: no such plan file"):
        Plan.read(tmp_path / "plan.parquet")


def test_a_file_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    path.write_text("not parquet at all")
    with pytest.raises(PlanFileError, match="not a readable plan file: "):
        Plan.read(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(PlanFileError, match="plan schema_version must be 1, got None"):
        Plan.read(path)


def test_a_changed_plan_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    SMALLEST.write(path)
    table = pq.read_table(path)
    column = table.column_names.index("num_output_tokens")
    pq.write_table(table.set_column(column, "num_output_tokens", pa.array([9], pa.int32())), path)
    with pytest.raises(PlanFileError, match="content does not match its digest"):
        Plan.read(path)
