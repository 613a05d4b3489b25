from __future__ import annotations

import pytest
import torch

from engines.core.settings import Layout
from engines.embedded.devices.kv_pool import BlockShape, KvPool, allocate_pool


def pool_of(layout: Layout, num_blocks: int = 5) -> KvPool:
    shape = BlockShape(
        num_layers=3, block_size=4, num_kv_heads=2, head_dim=8, dtype=torch.float32, layout=layout
    )
    return allocate_pool(shape, num_blocks, torch.device("cpu"))


@pytest.mark.parametrize(("layout", "num_parts"), [("per_layer", 6), ("cross_layer", 1)])
def test_a_part_of_a_block_is_one_piece_of_memory(layout: Layout, num_parts: int) -> None:
    pool = pool_of(layout)
    assert pool.by_part.shape == (num_parts, 5, 3 * 2 * 4 * 2 * 8 // num_parts)
    assert pool.by_part.is_contiguous()
    assert pool.shape.num_bytes == pool.by_part[:, 0].numel() * 4


@pytest.mark.parametrize("layout", ["per_layer", "cross_layer"])
def test_a_pool_may_be_empty_as_the_hosts_is_where_nothing_is_swapped(layout: Layout) -> None:
    assert pool_of(layout, 0).num_blocks == 0


@pytest.mark.parametrize("layout", ["per_layer", "cross_layer"])
def test_parts_and_layers_are_views_of_the_same_blocks(layout: Layout) -> None:
    pool = pool_of(layout)
    assert pool.by_layer.shape == (3, 2, 5, 4, 2, 8)
    pool.by_part[:, 3] = 1.0
    assert (pool.by_layer[:, :, 3] == 1.0).all()
    assert pool.by_layer.sum() == pool.by_layer[:, :, 3].numel()
    assert pool.by_layer.stride(2) == pool.shape.stride_tokens * pool.by_layer.stride(3)
