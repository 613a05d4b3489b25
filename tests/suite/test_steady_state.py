"""Overload and warm-up, told from queues whose load is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.synthetic_records import make_plan
from suite.steady_state import load_of
from suite.turn_table import TurnTable


def queue(load: float, *, num_turns: int = 1000, seed: int = 0, slow_first: int = 0) -> TurnTable:
    """A single server, Poisson arrivals of one a second, service of `load` seconds."""
    rng = np.random.default_rng(seed)
    scheduled = np.cumsum(rng.exponential(1.0, num_turns))
    service = np.where(np.arange(num_turns) < slow_first, 5.0 * load, load)
    begins, free_at = np.empty(num_turns), 0.0
    for row in range(num_turns):
        begins[row] = max(scheduled[row], free_at)
        free_at = begins[row] + service[row]
    names = np.array(["x"] * num_turns, dtype=object)
    empty, none = np.zeros(0), np.zeros(0, dtype=np.int32)
    return TurnTable(
        repeat=np.ones(num_turns, dtype=np.int64),
        conversation_id=names,
        conversation=np.arange(num_turns, dtype=np.int32),
        turn=np.zeros(num_turns, dtype=np.int64),
        user_id=names,
        user_class=names,
        scheduled_at=scheduled,
        sent_at=scheduled,
        done_at=begins + service,
        num_prompt_tokens=np.ones(num_turns),
        num_output_tokens=np.ones(num_turns),
        planned_output_tokens=np.ones(num_turns, dtype=np.int64),
        error=np.array([""] * num_turns, dtype=object),
        first_token_at=begins,
        last_token_at=begins,
        num_chunks=np.ones(num_turns, dtype=np.int64),
        token_at=begins,
        tokens_per_chunk=np.ones(num_turns, dtype=np.int32),
        token_turn=np.arange(num_turns, dtype=np.int32),
        gaps=empty,
        gap_turn=none,
    )


PLAN = make_plan(2, mean_turns=2, mean_tokens=2, seed=1)


@pytest.mark.parametrize(("load", "share"), [(0.5, 0.0), (0.8, 0.0), (1.3, 1.0), (2.0, 1.0)])
def test_overload_is_told_from_load(load, share):
    found = [load_of(queue(load, seed=seed), PLAN)[0] for seed in range(20)]
    assert np.mean([each is not None and each.is_overloaded for each in found]) == share


def test_what_is_served_of_what_was_due_is_the_capacity():
    found, _ = load_of(queue(2.0), PLAN)
    assert found is not None
    assert found.served_ratio == pytest.approx(0.5, abs=0.05)


def test_a_slow_start_is_found():
    found, _ = load_of(queue(0.3, slow_first=40), PLAN)
    assert found is not None
    assert found.steady_from_s is not None
    assert 30 <= found.steady_from_s <= 250
    assert not found.is_overloaded


def test_a_closed_loop_and_a_short_run_say_why_nothing_is_said():
    closed = replace(PLAN, closed_concurrency=4)
    assert load_of(queue(2.0), closed) == (
        None,
        "a closed loop has no load of its own to keep up with",
    )
    assert load_of(queue(2.0, num_turns=49), PLAN) == (None, "needs at least 50 turns, has 49")
