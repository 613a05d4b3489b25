"""Overload and drift told from few turns: how often of queues that keep up (false alarms), and of
such that do not (power). Loads and seeds are fixed; docs/statistics.md has the table."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

import numpy as np
import pytest

from suite.measuring.growing_waits import drift_of, is_falling_behind
from suite.measuring.steady_state import load_of, load_warnings, steady_state
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats
from tests.suite.measuring.test_steady_state import PLAN, table, talks

NUM_RUNS = 100
Lengths = Callable[[np.random.Generator, int], Floats]
LENGTHS: dict[str, Lengths] = {
    "equal": lambda _, num: np.ones(num),
    "exponential": lambda rng, num: rng.exponential(1.0, num),
    "log-normal": lambda rng, num: np.exp(rng.normal(-0.5, 1.0, num)),
}


def queue(
    load: float, lengths: str, *, seed: int, num_turns: int = 30, num_servers: int = 1
) -> TurnTable:
    """Poisson arrivals, one a second, at so many servers that take turns as they come; an answer's
    length is what it takes."""
    rng = np.random.default_rng([seed, num_turns])
    scheduled = np.cumsum(rng.exponential(1.0, num_turns))
    service = LENGTHS[lengths](rng, num_turns) * load * num_servers
    free_at, begins = [0.0] * num_servers, np.empty(num_turns)
    heapify(free_at)
    for row in range(num_turns):
        begins[row] = max(scheduled[row], heappop(free_at))
        heappush(free_at, float(begins[row] + service[row]))
    tokens = np.maximum(1, np.round(service * 100)).astype(int).tolist()
    rows = range(num_turns)
    return table(rows, [0] * num_turns, scheduled, begins, begins + service, tokens)


def ratio_told(load: float, lengths: str, *, num_turns: int = 30, num_servers: int = 1) -> float:
    told = []
    for seed in range(NUM_RUNS):
        turns = queue(load, lengths, seed=seed, num_turns=num_turns, num_servers=num_servers)
        found, _ = load_of(turns, PLAN)
        told.append(found is not None and found.is_overloaded is True)
    return float(np.mean(told))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("num_turns", [30, 60, 100])
def test_an_engine_that_keeps_up_is_seldom_called_overloaded(lengths, num_turns):
    assert ratio_told(0.5, lengths, num_turns=num_turns) <= 0.01
    assert ratio_told(0.8, lengths, num_turns=num_turns) <= 0.06
    assert ratio_told(0.9, lengths, num_turns=num_turns) <= 0.1


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(
    ("load", "num_turns", "least"),
    [(2.0, 30, 0.6), (3.0, 30, 0.9), (6.0, 30, 0.99), (2.0, 100, 0.93), (3.0, 100, 1.0)],
)
def test_overload_is_told_from_thirty_turns_on(lengths, load, num_turns, least):
    assert ratio_told(load, lengths, num_turns=num_turns) >= least


@pytest.mark.parametrize(("load", "least", "most"), [(0.8, 0.0, 0.03), (2.0, 0.9, 1.0)])
def test_many_turns_at_a_time_need_more_of_them(load, least, most):
    """Eight at a time: a hundred turns are a dozen for each."""
    assert least <= ratio_told(load, "exponential", num_turns=100, num_servers=8) <= most


def test_six_times_overloaded_is_said_in_words():
    found = steady_state(queue(6.0, "equal", seed=1, num_turns=36), [1], PLAN)
    assert found["is_overloaded"] is True
    assert found["is_steady"] is False
    [warning] = load_warnings(found)
    assert warning.startswith("overloaded: the backlog grew from ")


def test_arrivals_within_the_time_of_a_few_answers_tell_nothing_and_say_so():
    """Thirty turns that begin within 30 s and take 48 s each, eight at a time."""
    found = steady_state(queue(2.0, "equal", seed=1, num_servers=30), [1], PLAN)
    assert found["is_overloaded"] is None
    assert found["unavailable"]["is_overloaded"].startswith("conversations began within the time")
    [warning] = load_warnings(found)
    assert warning.startswith("whether the engine kept up is not known: ")


def test_answers_that_slow_down_together_to_a_level_are_no_overload():
    """Three times as slow from the tenth turn on, for as long as it lasts."""
    rows = range(60)
    scheduled = np.arange(60.0)
    done = scheduled + np.where(np.arange(60) < 10, 1.0, 3.0)
    turns = table(rows, [0] * 60, scheduled, done - 0.5, done, [10] * 60)
    assert is_falling_behind(turns, 0.0, 59.0) is False


def test_few_turns_of_many_turn_conversations_are_left_to_what_was_due():
    assert not any(is_told(talks(0.8, num_conversations=12, seed=seed)) for seed in range(20))


def is_told(turns: TurnTable) -> bool:
    found, _ = load_of(turns, PLAN)
    return found is not None and found.is_overloaded is True


def delays(rise: float, *, seed: int, num: int = 300) -> Floats:
    rng = np.random.default_rng(seed)
    found: Floats = rng.lognormal(0.0, 0.5, num) * np.linspace(1.0, rise, num)
    return found


@pytest.mark.parametrize(("rise", "least", "most"), [(1.0, 0, 0), (3.0, 0.8, 1), (1 / 3, 0.8, 1)])
def test_a_drift_is_told_and_no_drift_is_not(rise, least, most):
    found = [drift_of(delays(rise, seed=seed)) for seed in range(50)]
    assert least <= np.mean([each is not None for each in found]) <= most
    for each in found:
        assert each is None or (each[0] < each[1]) == (rise > 1)


@pytest.mark.parametrize(("load", "most"), [(0.5, 0.0), (0.8, 0.04), (0.9, 0.1)])
@pytest.mark.parametrize("num_turns", [50, 100, 300])
def test_a_queue_that_keeps_up_seldom_drifts(load, most, num_turns):
    """Its waits do hang together, and the more the busier it is."""
    found = []
    for seed in range(NUM_RUNS):
        load_found, _ = load_of(queue(load, "exponential", seed=seed, num_turns=num_turns), PLAN)
        found.append(load_found is not None and load_found.drift is not None)
    assert np.mean(found) <= most


def test_a_drift_is_said_and_neither_is_no_claim():
    num = 300
    scheduled = np.arange(float(num))
    rise = table(
        range(num),
        [0] * num,
        scheduled,
        scheduled + delays(4.0, seed=2) / 10,
        scheduled + 5,
        [10] * num,
    )
    found = steady_state(rise, [1], PLAN)
    assert (found["is_steady"], found["is_overloaded"]) == (False, False)
    [warning] = load_warnings(found)
    assert warning.startswith("not steady: the median first-token delay rose from 0.")
    few = steady_state(queue(0.5, "equal", seed=3), [1], PLAN)  # too few to show that it settled
    assert few["is_steady"] is None
    assert few["unavailable"]["is_steady"] == "neither that it settled nor that it drifted is shown"
    assert load_warnings(few) == []
