from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from engines.core.device import BlockRun
from engines.core.swap import copy_runs


def test_merged_joins_blocks_that_are_neighbours_on_both_sides() -> None:
    assert copy_runs([3, 4, 5, 9, 10], [0, 1, 2, 3, 7], "merged") == [
        BlockRun(source=3, target=0, num_blocks=3),
        BlockRun(source=9, target=3, num_blocks=1),
        BlockRun(source=10, target=7, num_blocks=1),
    ]


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=30).flatmap(
        lambda sources: st.tuples(
            st.just(sources),
            st.lists(st.integers(0, 40), unique=True, min_size=len(sources), max_size=len(sources)),
        )
    ),
    st.sampled_from(["per_block", "merged"]),
)
def test_runs_move_each_block_to_its_target_once(
    blocks: tuple[list[int], list[int]], copy: str
) -> None:
    sources, targets = blocks
    runs = copy_runs(sources, targets, copy)  # type: ignore[arg-type]
    moved = [(run.source + i, run.target + i) for run in runs for i in range(run.num_blocks)]
    assert moved == list(zip(sources, targets, strict=True))
    if copy == "merged":
        assert all(
            (left.source + left.num_blocks, left.target + left.num_blocks)
            != (right.source, right.target)
            for left, right in itertools.pairwise(runs)
        )
