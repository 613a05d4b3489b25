from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import small_plan
from workloads.distributions import Stream
from workloads.plan_parts import PriorityPattern, PriorityTrace
from workloads.priorities import markov_levels


def trace_of(folder: Path, priorities: str) -> PriorityTrace:
    trace = small_plan(folder, f"priorities={priorities}").priorities
    assert trace is not None
    return trace


def test_random_levels_are_uniform_and_forget(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "{pattern: random, levels: 5, num_updates: 4000}")
    assert trace.pattern is PriorityPattern.RANDOM
    assert trace.levels.shape == (4000, 12)
    share = np.bincount(trace.levels.ravel(), minlength=5) / trace.levels.size
    assert share == pytest.approx(np.full(5, 0.2), abs=0.01)
    assert np.mean(trace.levels[1:] == trace.levels[:-1]) == pytest.approx(0.2, abs=0.01)


def test_markov_levels_are_kept_as_often_as_asked_and_else_move_anywhere(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "{pattern: markov, levels: 5, stay: 0.8, num_updates: 4000}")
    before, after = trace.levels[:-1].astype(int), trace.levels[1:].astype(int)
    assert np.mean(before == after) == pytest.approx(0.8, abs=0.01)
    steps = (after - before)[before != after] % 5
    share = np.bincount(steps, minlength=5) / steps.size
    assert share == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.02)
    assert np.bincount(trace.levels.ravel(), minlength=5) / trace.levels.size == pytest.approx(
        np.full(5, 0.2), abs=0.03
    )


def test_markov_known_answers() -> None:
    uniforms = np.array([[0.0, 0.99], [0.49, 0.5], [0.99, 0.75]])
    # stay = 0.5; three levels: a move is 1 for u in [.5, .75), 2 for u in [.75, 1)
    assert markov_levels(uniforms, 3, 0.5).tolist() == [[0, 2], [0, 0], [2, 2]]


@given(st.integers(0, 999), st.integers(2, 256), st.floats(0, 1))
def test_markov_levels_stay_inside_their_range(seed: int, num_levels: int, stay: float) -> None:
    levels = markov_levels(Stream(seed, "m").uniforms(120).reshape(40, 3), num_levels, stay)
    assert levels.max() < num_levels
    if stay == 1:
        assert np.all(levels == levels[0])
    if stay == 0:
        assert np.all(levels[1:] != levels[:-1])


@pytest.mark.parametrize("pattern", ["random", "markov"])
def test_levels_drawn_in_parts_are_those_drawn_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    stay = ", stay: 0.8" if pattern == "markov" else ""
    text = f"{{pattern: {pattern}, num_updates: 7{stay}}}"
    at_once = trace_of(tmp_path, text).levels
    monkeypatch.setattr("workloads.priorities.DRAWS_AT_ONCE", 7 * 5)  # five of 12 conversations
    assert np.array_equal(trace_of(tmp_path, text).levels, at_once)


def test_static_levels_are_those_of_the_classes_and_never_change(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "priorities={pattern: static}")
    assert plan.priorities is not None
    assert plan.priorities.update_frequency == plan.priorities.update_interval_s == 0
    assert plan.priorities.num_levels == 4
    by_class = {"interactive": 0, "batch": 3}
    expected = [by_class[conversation.user_class] for conversation in plan.conversations]
    assert plan.priorities.levels.tolist() == [expected]


def test_without_a_pattern_there_are_no_priorities(tmp_path: Path) -> None:
    assert small_plan(tmp_path, "priorities={pattern: none}").priorities is None


def test_updates_come_by_iteration_and_by_time(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "{pattern: random}")
    assert (trace.update_frequency, trace.update_interval_s) == (0.04, 1.0)
    assert trace.levels.shape[0] == 1024
