from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core.device import BlockRun
from engines.core.settings import Layout
from engines.embedded.devices.kv_pool import BlockShape, allocate_pool
from tests.engines.embedded.devices.kernels import DEVICE

from engines.embedded.devices import kernel_copies  # isort: skip  # needs Triton
from engines.embedded.devices.kernel_copies import (  # isort: skip
    as_words,
    blocks_of,
    move_by_kernel,
)


def runs_of(rng: random.Random, num_blocks: int) -> list[BlockRun]:
    lengths = [rng.randint(1, 4) for _ in range(rng.randint(1, 4))]
    sources = rng.sample(range(0, num_blocks - 4, 4), len(lengths))
    targets = rng.sample(range(0, num_blocks - 4, 4), len(lengths))
    return [BlockRun(*run) for run in zip(sources, targets, lengths, strict=True)]


@given(seed=st.integers(0, 1000))
def test_every_block_of_every_run_is_named_once_in_order(seed: int) -> None:
    runs = runs_of(random.Random(seed), 40)
    expected = [[run.source + i, run.target + i] for run in runs for i in range(run.num_blocks)]
    assert blocks_of(runs).T.tolist() == expected


@settings(max_examples=8)
@given(
    seed=st.integers(0, 1000),
    layout=st.sampled_from(["per_layer", "cross_layer"]),
    head_dim=st.sampled_from([1, 3, 8]),
    num_programs=st.sampled_from([1, 3, 32]),
)
def test_the_kernel_moves_blocks_and_nothing_else(
    seed: int, layout: Layout, head_dim: int, num_programs: int
) -> None:
    """By fewer programs or more than there are tiles; a block's part is several of these."""
    shape = BlockShape(
        num_layers=2,
        block_size=3,
        num_kv_heads=1,
        head_dim=head_dim,
        dtype=torch.bfloat16,
        layout=layout,
    )
    source = allocate_pool(shape, 24, torch.device(DEVICE))
    target = allocate_pool(shape, 28, torch.device(DEVICE))
    generator = torch.Generator(DEVICE).manual_seed(seed)
    for pool in (source, target):
        pool.by_part.copy_(torch.randn(pool.by_part.shape, generator=generator, device=DEVICE))
    runs = runs_of(random.Random(seed), 24)
    expected = target.by_part.clone()
    for source_block, target_block in blocks_of(runs).T.tolist():
        expected[:, target_block] = source.by_part[:, source_block]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_copies, "NUM_PROGRAMS", num_programs)
        patch.setattr(kernel_copies, "TILE_WORDS", 8)
        move_by_kernel(source.by_part, target.by_part, blocks_of(runs).to(DEVICE))
    assert torch.equal(target.by_part, expected)


@pytest.mark.parametrize(("num_values", "size"), [(1, 2), (2, 4), (3, 2), (4, 8), (6, 4)])
def test_words_are_as_large_as_a_blocks_part_allows(num_values: int, size: int) -> None:
    pool = torch.zeros(2, 5, num_values, dtype=torch.bfloat16)
    assert as_words(pool).element_size() == size
