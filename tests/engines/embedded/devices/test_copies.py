from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.core.device import BlockRun
from engines.core.settings import Copy, Layout
from engines.embedded.devices.copies import (
    BATCH_BYTES,
    BATCH_CALLS,
    batches_of,
    blocks_per_batch,
    stats_of,
)
from engines.embedded.devices.kv_pool import BlockShape

ALL_COPY_MODES: list[Copy] = ["per_block", "merged", "batched", "kernel"]
ALL_LAYOUTS: list[Layout] = ["per_layer", "cross_layer"]


def shape_of(layout: Layout, *, num_layers: int = 32, num_kv_heads: int = 8) -> BlockShape:
    """Llama-3-8B's, unless said otherwise."""
    return BlockShape(
        num_layers=num_layers,
        block_size=16,
        num_kv_heads=num_kv_heads,
        head_dim=128,
        dtype=torch.bfloat16,
        layout=layout,
    )


def runs_of(*lengths: int) -> list[BlockRun]:
    starts = [sum(lengths[:i]) + i for i in range(len(lengths))]  # never neighbours
    return [
        BlockRun(source=start, target=start + 1000, num_blocks=length)
        for start, length in zip(starts, lengths, strict=True)
    ]


@pytest.mark.parametrize(
    ("layout", "copy", "num_copies"),
    [
        ("per_layer", "per_block", 64 * 63),
        ("per_layer", "merged", 64 * 3),
        ("per_layer", "batched", 8),  # 16 MiB are 8 blocks of 2 MiB
        ("per_layer", "kernel", 1),
        ("cross_layer", "per_block", 63),
        ("cross_layer", "merged", 3),
        ("cross_layer", "batched", 8),
        ("cross_layer", "kernel", 1),
    ],
)
def test_a_thousand_tokens_of_llama_3_8b_take_so_many_copies(
    layout: Layout, copy: Copy, num_copies: int
) -> None:
    shape = shape_of(layout)
    stats = stats_of(batches_of(runs_of(40, 3, 20), shape, copy), shape, copy)
    assert stats.num_copies == num_copies
    assert stats.num_bytes == 63 * 2 * 2**20


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    layout=st.sampled_from(ALL_LAYOUTS),
    copy=st.sampled_from(ALL_COPY_MODES),
    num_layers=st.sampled_from([1, 8, 32, 200]),
)
def test_batches_are_bounded_and_hold_every_block_once_in_order(
    lengths: list[int], layout: Layout, copy: Copy, num_layers: int
) -> None:
    shape = shape_of(layout, num_layers=num_layers)
    runs = runs_of(*lengths)
    batches = batches_of(runs, shape, copy)
    assert blocks_of([run for batch in batches for run in batch]) == blocks_of(runs)
    if copy == "kernel":
        assert batches == [runs]  # a GPU's threads take their turns by themselves
        return
    for batch in batches:
        num_bytes = sum(run.num_blocks for run in batch) * shape.num_bytes
        num_calls = 1 if copy == "batched" else len(batch) * shape.num_parts
        is_single = len(batch) == 1 and (copy == "merged" or batch[0].num_blocks == 1)
        assert is_single or (num_bytes <= BATCH_BYTES and num_calls <= BATCH_CALLS)
    if copy == "merged":
        assert [run for batch in batches for run in batch] == runs
    if copy == "batched":
        assert len(batches) == -(-sum(lengths) // blocks_per_batch(shape))


def blocks_of(runs: list[BlockRun]) -> list[tuple[int, int]]:
    return [
        (run.source + offset, run.target + offset)
        for run in runs
        for offset in range(run.num_blocks)
    ]
