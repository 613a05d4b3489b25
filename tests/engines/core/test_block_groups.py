"""Block groups against a naive twin and the paged allocator, and by known answers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core.block_groups import VICTIM_RULES, BlockGroupAllocator
from engines.core.free_runs import FreeRuns, Run, runs_of


class NaiveFreeRuns(FreeRuns):
    """The same answers from a flag per block, found by walking all of them."""

    def __init__(self) -> None:
        self._is_free: dict[int, bool] = {}

    @property
    def num_blocks(self) -> int:  # type: ignore[override]
        return sum(self._is_free.values())

    def __iter__(self) -> Iterator[Run]:
        return iter(runs_of([block for block, is_free in self._is_free.items() if is_free]))

    def add(self, run: Run) -> None:
        for block in run.blocks():
            assert not self._is_free.get(block)
            self._is_free[block] = True

    def starting_at(self, block: int) -> Run | None:
        return next((run for run in self if run.start == block), None)

    def best_fit(self, num_blocks: int) -> Run | None:
        fitting = [run for run in self if run.num_blocks >= num_blocks]
        return min(fitting, key=lambda run: (run.num_blocks, run.start), default=None)

    @property
    def longest(self) -> int:
        return max((run.num_blocks for run in self), default=0)

    def largest(self) -> Run | None:
        return max(self, key=lambda run: (run.num_blocks, run.start), default=None)

    def take(self, run: Run, num_blocks: int) -> Run:
        taken, _ = run.split(num_blocks)
        for block in taken.blocks():
            assert self._is_free[block]
            self._is_free[block] = False
        return taken

    def take_shorter(self, num_blocks: int, *, while_above: int) -> list[Run]:
        taken: list[Run] = []
        while True:
            largest = self.largest()
            missing = num_blocks - sum(run.num_blocks for run in taken)
            if largest is None or missing <= while_above or largest.num_blocks >= missing:
                return taken
            taken.append(self.take(largest, largest.num_blocks))


def pool(num_blocks: int, group_blocks: int, **fields: object) -> BlockGroupAllocator:
    return BlockGroupAllocator(num_blocks, group_blocks=group_blocks, **fields)  # type: ignore[arg-type]


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["allocate", "allocate", "allocate", "free_some", "release"]),
        st.integers(0, 5),
        st.integers(1, 24),
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(
    moves=MOVES,
    num_blocks=st.integers(1, 96),
    group_blocks=st.integers(1, 40),
    rule=st.sampled_from(sorted(VICTIM_RULES)),
)
def test_any_history_equals_the_naive_twin_and_refuses_nothing_that_paging_would_grant(
    moves: list[tuple[str, int, int]], num_blocks: int, group_blocks: int, rule: str
) -> None:
    fast = pool(num_blocks, group_blocks, victim_rule=VICTIM_RULES[rule], rng=random.Random(3))
    twin = pool(
        num_blocks,
        group_blocks,
        victim_rule=VICTIM_RULES[rule],
        rng=random.Random(3),
        free_runs=NaiveFreeRuns(),
    )
    held: dict[str, list[int]] = {}
    for what, who, size in moves:
        owner = f"r{who}"
        mine = held.setdefault(owner, [])
        if what == "allocate":
            # `num_free` is what a paged pool would have: all that nobody holds
            assert fast.num_free == num_blocks - sum(map(len, held.values()))
            if size <= fast.num_free:
                blocks = fast.allocate(owner, size)
                assert blocks == twin.allocate(owner, size)
                mine += blocks
        elif what == "free_some":
            fast.free(mine[size:])
            twin.free(mine[size:])
            del mine[size:]
        else:
            for each in (fast, twin):
                each.free(mine)
                each.release(owner)
            del held[owner]
        fast.check_integrity(block for blocks in held.values() for block in blocks)


def test_a_request_grows_into_its_own_group() -> None:
    groups = pool(100, 10)
    first = groups.allocate("a", 2)
    groups.allocate("b", 2)
    for _ in range(8):
        first += groups.allocate("a", 1)
    assert first == list(range(10))


def test_a_full_group_is_extended_in_place_where_the_neighbour_is_free() -> None:
    groups = pool(100, 10)
    blocks = groups.allocate("a", 10) + groups.allocate("a", 5)
    assert blocks == list(range(15))
    assert (groups.counts.num_groups, groups.counts.num_grown) == (1, 1)


def test_a_group_shrinks_to_a_fair_share_as_memory_gets_short() -> None:
    groups = pool(30, 20)
    groups.allocate("a", 1)  # takes a group of 20
    groups.allocate("b", 1)  # half of the 10 that are left
    assert runs_of(groups.allocate("c", 3)) == [Run(25, 3)]


def test_when_nothing_fits_the_end_of_anothers_tail_is_split_off() -> None:
    groups = pool(20, 20)
    groups.allocate("a", 4)  # its group is the whole pool
    assert groups.num_free == 16
    assert groups.allocate("b", 6) == list(range(14, 20))
    assert groups.allocate("a", 10) == list(range(4, 14))
    assert groups.counts.num_splits == 1


def test_least_progress_pays_first() -> None:
    groups = pool(20, 10, victim_rule=VICTIM_RULES["least_progress"])
    groups.allocate("far", 8)  # group 0–9
    groups.allocate("new", 1)  # group 10–14, and 15–19 stay free
    groups.allocate("third", 5)
    assert groups.allocate("fourth", 2) == [13, 14]


def test_freed_neighbours_merge_into_one_run() -> None:
    groups = pool(30, 10)
    blocks = {name: groups.allocate(name, 10) for name in "abc"}
    for name in "acb":
        groups.free(blocks[name])
        groups.release(name)
    assert groups.allocate("d", 30) == list(range(30))


def test_pieces_are_gathered_when_no_single_one_is_large_enough() -> None:
    groups = pool(12, 1)
    blocks = groups.allocate("a", 12)
    groups.free(blocks[::2])
    assert sorted(groups.allocate("b", 6)) == blocks[::2]
    groups.check_integrity(range(12))


def test_more_than_is_free_is_our_own_bug() -> None:
    with pytest.raises(AssertionError, match="b: 3 of 2 free"):
        groups = pool(4, 2)
        groups.allocate("a", 2)
        groups.allocate("b", 3)


def test_a_run_returned_twice_is_named() -> None:
    runs = FreeRuns([Run(0, 4)])
    with pytest.raises(AssertionError, match="returned twice"):
        runs.add(Run(2, 1))


@given(st.lists(st.integers(0, 60), unique=True))
def test_runs_of_blocks_are_maximal_and_complete(blocks: list[int]) -> None:
    runs = runs_of(blocks)
    assert [block for run in runs for block in run.blocks()] == sorted(blocks)
    assert all(a.end < b.start for a, b in itertools.pairwise(runs))
