"""Overload and warm-up, told from queues whose load is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import pytest

from benchmarks.synthetic_records import make_plan
from suite.measuring.steady_state import load_of
from suite.records.turn_table import TurnTable


def table(  # noqa: PLR0917 - columns
    conversation: Sequence[int],
    turn: Sequence[int],
    scheduled: Sequence[float],
    begins: Sequence[float],
    done: Sequence[float],
    tokens: Sequence[int],
) -> TurnTable:
    """A token at `begins`, no others that anybody looks at."""
    num_turns = len(scheduled)
    empty, none = np.zeros(0), np.zeros(0, dtype=np.int32)
    scheduled_at, first = np.asarray(scheduled, dtype=float), np.asarray(begins, dtype=float)
    columns: dict[str, Any] = {each.name: np.zeros(num_turns) for each in fields(TurnTable)}
    columns |= {
        "repeat": np.ones(num_turns, dtype=np.int64),
        "conversation": np.asarray(conversation, dtype=np.int32),
        "turn": np.asarray(turn, dtype=np.int64),
        "scheduled_at": scheduled_at,
        "sent_at": scheduled_at,
        "done_at": np.asarray(done, dtype=float),
        "num_output_tokens": np.asarray(tokens, dtype=float),
        "planned_output_tokens": np.asarray(tokens, dtype=np.int64),
        "error": np.array([""] * num_turns, dtype=object),
        "first_token_at": first,
        "last_token_at": first,
        "num_chunks": np.ones(num_turns, dtype=np.int64),
        "token_at": first,
        "tokens_per_chunk": np.ones(num_turns, dtype=np.int32),
        "token_turn": np.arange(num_turns, dtype=np.int32),
        "gaps": empty,
        "gap_turn": none,
    }
    return TurnTable(**columns)


def queue(load: float, *, num_turns: int = 1000, seed: int = 0, slow_first: int = 0) -> TurnTable:
    """A single server, Poisson arrivals of one a second, service of `load` seconds."""
    rng = np.random.default_rng(seed)
    scheduled = np.cumsum(rng.exponential(1.0, num_turns))
    service = np.where(np.arange(num_turns) < slow_first, 5.0 * load, load)
    begins, free_at = np.empty(num_turns), 0.0
    for row in range(num_turns):
        begins[row] = max(scheduled[row], free_at)
        free_at = begins[row] + service[row]
    rows = range(num_turns)
    return table(rows, [0] * num_turns, scheduled, begins, begins + service, [1] * num_turns)


def talks(
    load: float,
    *,
    num_conversations: int = 200,
    seed: int = 0,
    has_one_server: bool = True,
    second_per_token: float = 0.01,
) -> TurnTable:
    """Conversations of 5 turns in the mean (geometric), think times of 16 s in the mean, answers of
    100 tokens in the mean (exponential): one server, who is due first is served first, or as many
    servers as there are turns. A user who waits asks nothing more."""
    rng = np.random.default_rng(seed)
    mean_turns, mean_tokens = 5, 100
    gap_s = mean_turns * mean_tokens * second_per_token / load
    starts = np.cumsum(rng.exponential(gap_s, num_conversations))
    left = rng.geometric(1 / mean_turns, num_conversations)
    due = [(float(start), number, 0) for number, start in enumerate(starts)]
    heapify(due)
    rows, free_at = [], 0.0
    while due:
        at, number, turn = heappop(due)
        tokens = 1 + int(rng.exponential(mean_tokens))
        begins = max(at, free_at) if has_one_server else at
        free_at = begins + tokens * second_per_token
        rows.append((number, turn, at, begins, free_at, tokens))
        if turn + 1 < left[number]:
            heappush(due, (free_at + rng.exponential(16.0), number, turn + 1))
    return table(*zip(*rows, strict=True))


def share_marked(found: Iterable[TurnTable]) -> float:
    loads = [load_of(each, PLAN)[0] for each in found]
    return float(np.mean([each is not None and each.is_overloaded for each in loads]))


PLAN = make_plan(2, mean_turns=2, mean_tokens=2, seed=1)


@pytest.mark.parametrize(("load", "share"), [(0.5, 0.0), (0.8, 0.0), (1.3, 1.0), (2.0, 1.0)])
def test_overload_is_told_from_load(load, share):
    assert share_marked(queue(load, seed=seed) for seed in range(20)) == share


@pytest.mark.parametrize(("load", "share"), [(0.5, 0.0), (0.8, 0.0), (1.5, 1.0), (2.0, 1.0)])
def test_overload_is_seen_though_users_who_wait_ask_nothing_more(load, share):
    found = [talks(load, num_conversations=400, seed=seed) for seed in range(20)]
    assert share_marked(found) == share


def test_a_hundred_conversations_show_a_clear_overload():
    assert share_marked(talks(2.0, num_conversations=100, seed=seed) for seed in range(20)) == 1.0


def test_what_was_sent_hides_an_overload_that_what_was_due_shows():
    sent_ratios, served_ratios = [], []
    for seed in range(10):
        turns = talks(1.5, num_conversations=400, seed=seed)
        end = float(turns.scheduled_at[turns.turn == 0].max())
        half = end / 2
        num_sent = ((turns.scheduled_at > half) & (turns.scheduled_at <= end)).sum()
        num_done = ((turns.done_at > half) & (turns.done_at <= end)).sum()
        sent_ratios.append(num_done / num_sent)
        found, _ = load_of(turns, PLAN)
        assert found is not None
        served_ratios.append(found.served_ratio)
    assert np.mean(sent_ratios) > 0.9  # nearly all that was sent was answered …
    assert np.mean(served_ratios) == pytest.approx(1 / 1.5, abs=0.04)  # … two thirds of the demand


def test_answers_that_are_slow_by_themselves_are_no_overload():
    # A tenth of the time in which conversations start, each; nobody ever waits for another.
    found = [talks(5.0, has_one_server=False, second_per_token=0.2, seed=s) for s in range(20)]
    assert share_marked(found) == 0.0


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
    assert load_of(queue(2.0, num_turns=29), PLAN) == (None, "needs at least 30 turns, has 29")
