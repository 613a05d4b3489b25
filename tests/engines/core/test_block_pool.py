from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.block_pool import PagedAllocator, SortedAllocator


def test_the_block_freed_last_is_handed_out_first() -> None:
    pool = PagedAllocator(8)
    assert pool.allocate("a", 3) == [0, 1, 2]
    pool.free([1])
    assert pool.allocate("b", 2) == [1, 3]


def test_taking_more_than_is_free_is_our_own_bug() -> None:
    with pytest.raises(AssertionError, match="a: 5 of 4 free"):
        PagedAllocator(4).allocate("a", 5)


def test_sorted_hands_out_the_lowest_block_first() -> None:
    pool = SortedAllocator(8)
    blocks = pool.allocate("a", 6)
    pool.free([4, 1, 2])
    assert (blocks, pool.allocate("b", 3)) == ([0, 1, 2, 3, 4, 5], [1, 2, 4])


@given(
    st.sampled_from([PagedAllocator, SortedAllocator]),
    st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60),
)
def test_no_block_is_lost_or_owned_twice(
    kind: type[PagedAllocator] | type[SortedAllocator], moves: list[tuple[bool, int]]
) -> None:
    pool = kind(32)
    held: list[int] = []
    for takes, num_blocks in moves:
        if takes and num_blocks <= pool.num_free:
            held += pool.allocate("a", num_blocks)
        elif not takes:
            pool.free(held[:num_blocks])
            del held[:num_blocks]
        pool.check_integrity(held)
        assert pool.num_free == 32 - len(held)


def test_integrity_names_the_sum_and_the_block() -> None:
    pool = PagedAllocator(4)
    taken = pool.allocate("a", 2)
    with pytest.raises(AssertionError, match=r"free 2 \+ held 1 != total 4"):
        pool.check_integrity(taken[:1])
    with pytest.raises(AssertionError, match=r"owned twice: \[3\]"):
        pool.check_integrity([taken[0], 3])
