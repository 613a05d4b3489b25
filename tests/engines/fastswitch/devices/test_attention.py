from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engines.fastswitch.device import SequenceChunk
from engines.fastswitch.devices import attention_plan
from engines.fastswitch.devices.attention import attend, gather, write_kv
from engines.fastswitch.devices.attention_plan import (
    causal_mask,
    count_decodes,
    group_by_length,
    plan_attention,
    slots_of,
)

NUM_HEADS, NUM_KV_HEADS, HEAD_DIM = 4, 2, 8
CPU = torch.device("cpu")
part = st.tuples(st.integers(0, 40), st.integers(1, 12))  # tokens in the cache, tokens of the chunk


def chunks_of(
    parts: list[tuple[int, int]], block_size: int, seed: int, *, are_neighbours: bool = False
) -> list[SequenceChunk]:
    """Decodes first; scattered blocks unless said otherwise, each sequence its own."""
    parts = sorted(parts, key=lambda part: part[1] != 1)
    needed = [-(-(start + length) // block_size) for start, length in parts]
    blocks = random.Random(seed).sample(range(sum(needed) + 5), sum(needed))
    if are_neighbours:
        blocks.sort(reverse=True)  # taken from the end
    return [
        SequenceChunk(
            request_id=str(index),
            token_ids=[0] * length,
            start=start,
            block_table=[blocks.pop() for _ in range(num_blocks)],
            sampling=None,
            output_index=0,
        )
        for index, ((start, length), num_blocks) in enumerate(zip(parts, needed, strict=True))
    ]


def random_memory(chunks: list[SequenceChunk], block_size: int, num_layers: int) -> Tensor:
    """[blocks, layers, K | V, …]: with more layers than one, a layer's blocks lie apart."""
    num_blocks = sum(len(chunk.block_table) for chunk in chunks) + 5
    shape = (num_blocks, num_layers, 2, block_size, NUM_KV_HEADS, HEAD_DIM)
    return torch.randn(shape, dtype=torch.float64) * 3


def last_layer_of(memory: Tensor) -> tuple[Tensor, Tensor]:
    """K and V; with a single layer dense, as in layout `per_layer`."""
    keys, values = memory[:, -1, 0], memory[:, -1, 1]
    return (keys.clone(), values.clone()) if memory.shape[1] == 1 else (keys, values)


def eager_attention(
    queries: Tensor, cache: tuple[Tensor, Tensor], chunks: list[SequenceChunk], block_size: int
) -> Tensor:
    """The slow twin: one row, one head, one slot at a time."""
    rows = []
    for chunk in chunks:
        for position in range(chunk.start, chunk.start + len(chunk.token_ids)):
            slots = [
                (chunk.block_table[p // block_size], p % block_size) for p in range(position + 1)
            ]
            query, heads = queries[len(rows)], []
            for head in range(NUM_HEADS):
                kv_head = head // (NUM_HEADS // NUM_KV_HEADS)
                keys = torch.stack([cache[0][b, o, kv_head] for b, o in slots])
                values = torch.stack([cache[1][b, o, kv_head] for b, o in slots])
                weights = (keys @ query[head] / HEAD_DIM**0.5).softmax(dim=0)
                heads.append(weights @ values)
            rows.append(torch.stack(heads))
    return torch.stack(rows)


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(part, min_size=1, max_size=7),
    block_size=st.sampled_from([1, 4, 16]),
    num_layers=st.integers(1, 3),
    are_neighbours=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_mixed_batch_attends_as_its_eager_twin(
    parts: list[tuple[int, int]],
    block_size: int,
    num_layers: int,
    are_neighbours: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    chunks = chunks_of(parts, block_size, seed, are_neighbours=are_neighbours)
    num_rows = sum(len(chunk.token_ids) for chunk in chunks)
    cache = last_layer_of(random_memory(chunks, block_size, num_layers))
    queries = torch.randn(num_rows, NUM_HEADS, HEAD_DIM, dtype=torch.float64)
    keys, values = torch.randn(2, num_rows, NUM_KV_HEADS, HEAD_DIM, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_plan, "MIN_VIEW_TOKENS", 12)
        plan = plan_attention(
            chunks,
            block_size,
            block_stride=block_size if num_layers == 1 else 2 * num_layers * block_size,
            device=CPU,
            dtype=torch.float64,
        )
    write_kv(keys, values, cache, plan.slots)
    expected = eager_attention(queries, cache, chunks, block_size)
    got = attend(queries, keys, values, cache, plan)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 30),
    length=st.integers(1, 30),
    block_size=st.sampled_from([1, 3, 16]),
    num_layers=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_what_is_written_is_gathered_and_nothing_else_changes(
    start: int, length: int, block_size: int, num_layers: int, seed: int
) -> None:
    torch.manual_seed(seed)
    (chunk,) = chunks_of([(start, length)], block_size, seed)
    memory = random_memory([chunk], block_size, num_layers)
    expected = memory.clone()
    keys, values = torch.randn(2, length, NUM_KV_HEADS, HEAD_DIM, dtype=torch.float64)
    for position, key, value in zip(range(start, start + length), keys, values, strict=True):
        block = chunk.block_table[position // block_size]
        expected[block, -1, :, position % block_size] = torch.stack((key, value))
    cache = (memory[:, -1, 0], memory[:, -1, 1])
    stride = 2 * num_layers * block_size
    write_kv(keys, values, cache, torch.tensor(slots_of(chunk, block_size, stride)))
    assert torch.equal(memory, expected)
    blocks = torch.tensor(chunk.block_table)
    for tensor, new in zip(cache, (keys, values), strict=True):
        assert torch.equal(gather(tensor, blocks)[start : start + length], new)


@given(lengths=st.lists(st.integers(1, 3000), max_size=40), block_size=st.sampled_from([4, 16]))
def test_groups_hold_every_row_once_and_stay_small_and_even(
    lengths: list[int], block_size: int
) -> None:
    groups = group_by_length(dict(enumerate(lengths)), block_size)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        blocks = [-(-lengths[row] // block_size) for row in group]
        assert min(blocks) >= attention_plan.MIN_FILL_RATIO * max(blocks)
        num_tokens = len(group) * max(blocks) * block_size
        assert len(group) == 1 or num_tokens <= attention_plan.MAX_GROUP_TOKENS["cpu"]


def test_equal_lengths_share_a_group() -> None:
    assert group_by_length(dict.fromkeys(range(8), 500), 16) == [[0, 1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("lengths", "expected"), [([], 0), ([1, 1], 2), ([1, 5, 1], 1), ([5], 0), ([1, 1, 7], 2)]
)
def test_decodes_are_the_leading_chunks_of_one_token(lengths: list[int], expected: int) -> None:
    chunks = [
        SequenceChunk(
            request_id="r",
            token_ids=[0] * length,
            start=9,
            block_table=[0, 1, 2, 3],
            sampling=None,
            output_index=0,
        )
        for length in lengths
    ]
    assert count_decodes(chunks) == expected


def decode_of(block_table: list[int], start: int) -> SequenceChunk:
    return SequenceChunk("r", [0], start, block_table, None, 0)


@pytest.mark.parametrize(
    ("block_table", "start", "block_stride", "is_view"),
    [
        ([*range(5, 25)], 300, 16, True),
        ([*range(5, 24), 99], 300, 16, True),  # the last block is not used yet
        ([*range(5, 23), 99, 24], 319, 16, False),
        ([5, 7, 6, *range(8, 25)], 319, 16, False),  # ends where a run would
        ([*range(5, 25)], 200, 16, False),  # too short to be worth a call of its own
        ([*range(5, 25)], 300, 32, False),  # a layer's blocks lie apart
    ],
)
def test_a_long_decode_on_neighbouring_blocks_is_a_view(
    block_table: list[int], start: int, block_stride: int, is_view: bool
) -> None:
    plan = plan_attention(
        [decode_of(block_table, start)],
        16,
        block_stride=block_stride,
        device=CPU,
        dtype=torch.float32,
    )
    (group,) = plan.decode_groups
    assert isinstance(group.blocks, slice) == is_view
    pool = torch.zeros(100, 16, 2, 4)
    is_shared = gather(pool, group.blocks).untyped_storage().data_ptr() == pool.data_ptr()
    assert is_shared == is_view


def test_cudas_causal_mask_says_what_the_cpus_matrix_says() -> None:
    torch.manual_seed(0)
    queries = torch.randn(1, 2, 3, 8, dtype=torch.float64)
    keys, values = torch.randn(2, 1, 2, 10, 8, dtype=torch.float64)
    by_matrix, by_name = (
        torch.nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=causal_mask(3, 10, torch.device(name))
        )
        for name in ("cpu", "cuda")
    )
    torch.testing.assert_close(by_matrix, by_name)
