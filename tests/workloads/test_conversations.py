from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workloads.examples import counts, lengths, small_plan
from workloads.conversations import (
    CUT_BY_CONTEXT,
    CUT_BY_TURNS,
    RAISED,
    TOO_LONG,
    Wanted,
    choose_conversations,
)
from workloads.errors import WorkloadError
from workloads.shapes import Tally
from workloads.spec_conversations import ShareGptLikeConversations

FIXED = "source: fixed, count: 2, turns: 3, prompt_tokens: 10, output_tokens: 4"
TRACE = """\
conv_id,turn,new_prompt_tokens,output_tokens
a,1,100,50
b,1,10,5
b,2,10,5
b,3,100,5
b,4,1,2
c,1,3,7
"""


def trace_plan(folder: Path, extra: str) -> object:
    (folder / "turns.csv").write_text(TRACE)
    return small_plan(folder, f"conversations={{trace: sharegpt, path: {folder}/turns.csv{extra}}}")


def test_fixed_conversations_are_all_alike(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, f"conversations={{{FIXED}}}")
    assert lengths(plan) == [[(10, 4)] * 3] * 2
    assert plan.notes == ()
    first, second = (conversation.turns for conversation in plan.conversations)
    assert first[0].new_prompt_token_ids.tolist() != second[0].new_prompt_token_ids.tolist()


def test_a_conversation_ends_before_the_turn_that_would_not_fit_and_it_is_counted(
    tmp_path: Path,
) -> None:
    plan = trace_plan(tmp_path, ", max_context_tokens: 60")
    assert lengths(plan) == [[(10, 5), (10, 5)], [(3, 7)]]
    assert counts(plan) == {TOO_LONG: 1, CUT_BY_CONTEXT: 2}


def test_a_context_exactly_at_the_limit_fits(tmp_path: Path) -> None:
    assert len(lengths(trace_plan(tmp_path, ", max_context_tokens: 135"))[0]) == 3
    assert len(lengths(trace_plan(tmp_path, ", max_context_tokens: 134, offset: 1"))[0]) == 2


def test_turns_over_max_turns_are_cut_and_counted(tmp_path: Path) -> None:
    plan = trace_plan(tmp_path, ", max_turns: 1")
    assert [len(turns) for turns in lengths(plan)] == [1, 1, 1]
    assert counts(plan) == {CUT_BY_TURNS: 3}


def test_offset_and_count_choose_a_stretch(tmp_path: Path) -> None:
    assert lengths(trace_plan(tmp_path, ", offset: 1, count: 1"))[0][0] == (10, 5)
    assert lengths(trace_plan(tmp_path, ", offset: 2")) == [[(3, 7)]]


def test_more_conversations_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"count must be ≤ the 2 .* offset 1 .* got 9"):
        trace_plan(tmp_path, ", count: 9, offset: 1")
    with pytest.raises(WorkloadError, match=r"count must be ≤ the 0 .* got all"):
        trace_plan(tmp_path, ", offset: 3")


def test_lengths_are_scaled_and_what_becomes_too_small_is_raised_and_counted(
    tmp_path: Path,
) -> None:
    plan = trace_plan(tmp_path, ", offset: 1, length_scale: 0.1")
    assert lengths(plan) == [[(1, 2), (1, 2), (10, 2), (1, 2)], [(1, 2)]]
    # raised: outputs .5 → 2 (three), .2 → 2, .7 → 2, and prompts .1 and .3 → 1
    assert counts(plan) == {RAISED: 7, "turns with lengths multiplied by 0.1": 5}


@pytest.mark.parametrize("source", ["source: sharegpt-like, count: 3", FIXED])
def test_limits_that_nothing_fits_are_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(WorkloadError, match=r"max_context_tokens fits only 0 of .*, got 3; raise"):
        small_plan(tmp_path, f"conversations={{{source}, max_context_tokens: 3}}")


def test_prompt_tokens_are_uniform_in_their_range(tmp_path: Path) -> None:
    source = "source: fixed, count: 1, turns: 2, prompt_tokens: 20000, output_tokens: 1"
    plan = small_plan(tmp_path, f"conversations={{{source}, token_ids: [10, 20]}}")
    first, second = (turn.new_prompt_token_ids for turn in plan.conversations[0].turns)
    assert first.dtype == np.int32
    assert np.bincount(first)[10:] / first.size == pytest.approx(np.full(10, 0.1), abs=0.01)
    assert np.unique(first).tolist() == list(range(10, 20))
    assert first.tolist() != second.tolist()


@settings(max_examples=25)
@given(st.integers(0, 99), st.integers(1, 20), st.integers(300, 5000), st.floats(0.1, 1.0))
def test_no_conversation_exceeds_its_limits_and_every_cut_is_counted(
    seed: int, count: int, limit: int, scale: float
) -> None:
    spec = ShareGptLikeConversations(
        source="sharegpt-like", count=count, max_context_tokens=limit, length_scale=scale
    )
    tally, uncut = Tally(), spec.model_copy(update={"max_context_tokens": None})
    shapes = choose_conversations(spec, Path(), seed, tally, Wanted(count=count))
    assert len(shapes) == count
    assert all(0 < sum(turn.num_tokens for turn in shape.turns) <= limit for shape in shapes)
    wider = Wanted(count=count + tally[TOO_LONG])
    full = choose_conversations(uncut, Path(), seed, Tally(), wider)
    kept = [shape for shape in full if shape.turns[0].num_tokens <= limit]
    assert sum(len(shape.turns) for shape in kept) - tally[CUT_BY_CONTEXT] == sum(
        len(shape.turns) for shape in shapes
    )


@pytest.mark.traces
def test_a_stretch_of_the_real_trace_has_its_lengths(
    tmp_path: Path, real_trace: Callable[[str], Path]
) -> None:
    path = real_trace("sharegpt_openchat_turns.csv.gz")
    override = f"conversations={{trace: sharegpt, path: {path}, offset: 1, count: 1}}"
    assert lengths(small_plan(tmp_path, override)) == [[(290, 905), (207, 711), (384, 918)]]
