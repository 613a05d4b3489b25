"""The simulator keeps the problem's laws whatever decides in it, and known small cases come out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import EngineInputError
from engines.jobshop.play import play
from engines.jobshop.policy import play_by
from engines.jobshop.problem import Integers, Shop, build_shop
from engines.jobshop.record import ScheduleRecord, down_times, record_of
from engines.jobshop.simulator import ALL_DONE, IDLE, candidates, idle, load, may_idle, to_decision
from engines.jobshop.state import State, new_state
from tests.engines.jobshop.shops import assert_lawful, random_shop, shops


class AtRandom:
    """Loads or idles as it comes."""

    def play(self, shop: Shop, state: State, seed: int) -> None:
        random = np.random.default_rng(seed)

        def choose(machine: int, choices: Integers) -> int:
            return int(random.choice(choices))

        play_by(choose, shop, state, idles=True)


class Eager:
    """Never idles; takes the first."""

    def play(self, shop: Shop, state: State, seed: int) -> None:
        play_by(lambda _, choices: int(choices[0]), shop, state, idles=False)


@given(shop=shops(), seed=st.integers(0, 1000))
def test_whatever_is_decided_the_schedule_keeps_the_laws(shop: Shop, seed: int) -> None:
    record = play(shop, AtRandom(), seed)
    assert_lawful(shop, record)
    assert (record.start >= 0).all()


@given(shop=shops(), seed=st.integers(0, 1000))
def test_the_machines_time_adds_up(shop: Shop, seed: int) -> None:
    record = play(shop, AtRandom(), seed)
    time = record.machine_time
    assert time.working == shop.duration.sum()
    assert min(time.blocked, time.down, time.idle) >= 0
    whole = record.makespan * shop.machine.shape[1]
    assert time.working + time.blocked + time.down + time.idle == whole
    down = sum(high - low for spans in down_times(shop, record) for low, high in spans)
    assert down == time.down


@given(shop=shops(), seed=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_schedule(shop: Shop, seed: int) -> None:
    one, other = (play(shop, AtRandom(), seed) for _ in range(2))
    assert np.array_equal(one.departure, other.departure)
    assert one.num_decisions == other.num_decisions


def _played(shop: Shop) -> ScheduleRecord:
    return play(shop, Eager(), 0)


def test_two_jobs_that_want_each_others_machine_swap() -> None:
    shop = build_shop([[0, 1], [1, 0]], [[3, 2], [5, 4]])
    record = _played(shop)
    # Job 0 is through with machine 0 at 3, but machine 1 is held until 5: there they swap.
    assert record.num_rotations == 1
    assert record.departure.tolist() == [[5, 7], [5, 9]]
    assert record.machine_time.blocked == 2


def test_three_jobs_in_a_ring_move_at_once() -> None:
    shop = build_shop([[0, 1, 2], [1, 2, 0], [2, 0, 1]], [[2, 2, 2]] * 3)
    record = _played(shop)
    assert record.makespan == 6
    assert record.num_rotations == 2


def test_a_finished_job_keeps_its_machine_until_the_next_is_free() -> None:
    shop = build_shop([[0, 1], [1, 0]], [[1, 1], [9, 1]])
    record = _played(shop)
    assert record.completion[0, 0] == 1
    assert record.departure[0, 0] == 9


def test_loading_a_blocked_job_frees_its_machine_at_the_same_instant() -> None:
    # Job 1 blocks machine 0 until job 0 leaves machine 1 at 9; then job 2 gets machine 0 at 9.
    shop = build_shop([[1, 0], [0, 1], [0, 1]], [[9, 20], [1, 4], [2, 1]])
    state = new_state(shop)
    for expected in (1, 0):  # machine 0 is offered first, then machine 1
        to_decision(shop, state)
        load(shop, state, expected)
    assert to_decision(shop, state) != ALL_DONE
    record = _played(shop)
    assert_lawful(shop, record)


def test_work_goes_on_where_an_interruption_stopped_it() -> None:
    shop = build_shop([[0]], [[10]], hits=([[4]], [[7]]), length_bounds=(5, 9))
    record = _played(shop)
    assert record.makespan == 17
    assert down_times(shop, record) == [[(4, 11)]]


def test_nobody_enters_a_machine_that_is_down() -> None:
    shop = build_shop([[0, 1]], [[3, 2]], windows=([[20], [2]], [[21], [9]]), length_bounds=(1, 9))
    record = _played(shop)
    assert record.departure.tolist() == [[9, 11]]


def test_a_swap_waits_for_a_machine_that_is_down() -> None:
    shop = build_shop(
        [[0, 1], [1, 0]], [[3, 2], [3, 2]], windows=([[3], [90]], [[8], [91]]), length_bounds=(1, 9)
    )
    assert _played(shop).departure.tolist() == [[8, 10], [8, 10]]


def test_idling_is_forbidden_when_nothing_is_to_come() -> None:
    shop = build_shop([[0, 1], [1, 0]], [[3, 2], [5, 4]])
    state = new_state(shop)
    assert to_decision(shop, state) == 0
    assert may_idle(shop, state, 0)  # machine 1 can be loaded yet
    idle(state, 0)
    assert to_decision(shop, state) == 1
    assert not may_idle(shop, state, 1)
    load(shop, state, 1)
    assert to_decision(shop, state) == 0  # at 5, offered again; job 1 waits for it too
    assert not may_idle(shop, state, 0)


def test_an_idle_machine_is_offered_again_at_the_next_event() -> None:
    shop = build_shop([[0, 1], [1, 0]], [[3, 2], [5, 4]])
    state = new_state(shop)
    asked: list[tuple[int, int]] = []

    def choose(machine: int, choices: Integers) -> int:
        asked.append((int(state.counts[0]), machine))
        return IDLE if machine == 1 and len(asked) < 3 else int(choices[0])

    play_by(choose, shop, state, idles=True)
    record = record_of(shop, state, 0.0)
    assert asked[:2] == [(0, 0), (0, 1)]
    assert record.num_idles == 1
    assert record.start[:, 1].tolist() == [3, 10]  # left idle until 3, it went to job 0
    assert record.start[1, 0] == 5


def test_a_machine_is_offered_to_all_that_want_it() -> None:
    shop = random_shop(3, jobs=5, machines=3)
    state, found = new_state(shop), np.empty(5, dtype=np.int64)
    machine = to_decision(shop, state)
    count = candidates(shop, state, machine, found)
    assert found[:count].tolist() == [job for job in range(5) if shop.machine[job, 0] == machine]


@pytest.mark.parametrize(
    ("machine", "duration", "words"),
    [
        ([[0, 0]], [[1, 1]], r"job 0 must visit each machine 0 to 1 once, got \[0, 0\]"),
        ([[0, 2]], [[1, 1]], r"job 0 must visit each machine 0 to 1 once, got \[0, 2\]"),
        ([[0, 1]], [[1, -4]], "job 0 has a negative duration, -4"),
        ([[0, 1]], [[1]], r"one shape \[jobs, machines\], got \(1, 2\) and \(1, 1\)"),
        ([0, 1], [1, 1], "machines must be a table, got 1 dimensions"),
    ],
)
def test_what_is_no_job_shop_is_refused(machine: object, duration: object, words: str) -> None:
    with pytest.raises(EngineInputError, match=words):
        build_shop(machine, duration)  # type: ignore[arg-type]
