from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engines.core.device import SequenceChunk
from engines.embedded.devices import attention_plan
from engines.embedded.devices.attention import attend, gather, layers_of, write_kv
from engines.embedded.devices.attention_plan import (
    count_decodes,
    group_by_length,
    plan_attention,
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


def by_layer(memory: Tensor) -> Tensor:
    """[layers, K | V, blocks, …]; of a single layer dense, as in layout `per_layer`."""
    layers = memory.permute(1, 2, 0, 3, 4, 5)
    return layers.contiguous() if len(layers) == 1 else layers


def eager_attention(
    queries: Tensor, cache: Tensor, chunks: list[SequenceChunk], block_size: int
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


@settings(max_examples=25)
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_plan, "MIN_VIEW_TOKENS", 12)
        check_against_twin(
            parts,
            block_size=block_size,
            num_layers=num_layers,
            are_neighbours=are_neighbours,
            seed=seed,
        )


def check_against_twin(
    parts: list[tuple[int, int]],
    *,
    block_size: int,
    num_layers: int,
    are_neighbours: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    chunks = chunks_of(parts, block_size, seed, are_neighbours=are_neighbours)
    num_rows = sum(len(chunk.token_ids) for chunk in chunks)
    kv = by_layer(random_memory(chunks, block_size, num_layers))
    heads = torch.randn(num_rows, NUM_HEADS + 2 * NUM_KV_HEADS, HEAD_DIM, dtype=torch.float64)
    queries, keys, values = torch.split(heads, [NUM_HEADS, NUM_KV_HEADS, NUM_KV_HEADS], dim=1)
    plan = plan_attention(
        chunks,
        block_size,
        block_stride=block_size if num_layers == 1 else 2 * num_layers * block_size,
        device=CPU,
        dtype=torch.float64,
    )
    last_layer = [*layers_of(kv, plan)][-1]
    write_kv(heads[:, NUM_HEADS:], last_layer, plan.slots)
    ordered = [chunks[index] for index in plan.order]
    expected = eager_attention(queries, kv[-1], ordered, block_size)
    got = attend(queries, keys, values, last_layer, plan)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
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
    rows = torch.randn(length, 2 * NUM_KV_HEADS, HEAD_DIM, dtype=torch.float64)
    keys, values = rows.chunk(2, dim=1)
    for position, key, value in zip(range(start, start + length), keys, values, strict=True):
        block = chunk.block_table[position // block_size]
        expected[block, -1, :, position % block_size] = torch.stack((key, value))
    plan = plan_attention(
        [chunk],
        block_size,
        block_stride=2 * num_layers * block_size,
        device=CPU,
        dtype=torch.float64,
    )
    last_layer = [*layers_of(memory.permute(1, 2, 0, 3, 4, 5), plan)][-1]
    write_kv(rows, last_layer, plan.slots)
    assert torch.equal(memory, expected)
    gathered = gather(last_layer.blocks, torch.tensor(chunk.block_table))
    assert torch.equal(gathered[0, start : start + length], keys)
    assert torch.equal(gathered[1, start : start + length], values)


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
    ("block_table", "block_stride", "is_view"),
    [
        ([*range(5, 25)], 16, True),
        ([*range(5, 24), 99], 16, True),  # the last block is not used yet
        ([*range(5, 22), 99, 23, 24], 16, False),
        ([5, 7, 6, *range(8, 25)], 16, False),  # ends where a run would
        ([*range(5, 25)], 32, False),  # a layer's blocks lie apart
    ],
)
def test_a_decode_alone_on_neighbouring_blocks_is_a_view(
    block_table: list[int], block_stride: int, is_view: bool
) -> None:
    plan = plan_attention(
        [decode_of(block_table, 300)],
        16,
        block_stride=block_stride,
        device=CPU,
        dtype=torch.float32,
    )
    (group,) = plan.decode_groups
    assert isinstance(group.blocks, slice) == is_view
    kv = torch.zeros(2, 100, 16, 2, 4)
    is_shared = gather(kv, group.blocks).untyped_storage().data_ptr() == kv.data_ptr()
    assert is_shared == is_view
    assert all((layer.views[0] is not None) == is_view for layer in layers_of(kv[None], plan))


def test_long_decodes_attend_one_by_one_and_short_ones_together() -> None:
    starts = (40, 2000, 40, 2000)
    tables = [[*range(i * 130, (i + 1) * 130)] for i in range(4)]
    plan = plan_attention(
        [decode_of(table, start) for table, start in zip(tables, starts, strict=True)],
        16,
        device=CPU,
        dtype=torch.float32,
    )
    assert plan.order == (1, 3, 0, 2)
    rows = [(group.start_row, group.stop_row) for group in plan.decode_groups]
    assert rows == [(0, 1), (1, 2), (2, 4)]


def test_a_chunk_behind_a_long_prefix_needs_no_mask_of_its_own_size() -> None:
    """8,192 rows behind as many: a matrix of both would have 128 Mi entries."""
    num_rows, start = 8192, 8192
    chunks = [
        SequenceChunk("long", [0] * num_rows, start, [*range(1024)], None, 0),
        SequenceChunk("short", [0] * 3, 20, [*range(2000, 2002)], None, 0),
    ]
    plan = plan_attention(chunks, 16, device=CPU, dtype=torch.float32)
    assert plan.causal_mask is not None
    assert plan.causal_mask.shape == (attention_plan.MASK_ROWS, start + num_rows)


@pytest.mark.parametrize(("num_rows", "start"), [(1, 9), (7, 5), (8, 3), (20, 1), (33, 17)])
def test_a_chunk_cut_into_calls_attends_as_its_eager_twin(
    num_rows: int, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_plan, "MASK_ROWS", 8)
    monkeypatch.setattr("engines.embedded.devices.attention.MASK_ROWS", 8)
    check_against_twin(
        [(start, num_rows), (start + 30, 4)],
        block_size=4,
        num_layers=2,
        are_neighbours=False,
        seed=num_rows,
    )


def test_without_a_prefix_there_is_no_mask() -> None:
    chunk = SequenceChunk("r", [0] * 40, 0, [0, 1, 2], None, 0)
    assert plan_attention([chunk], 16, device=CPU, dtype=torch.float32).causal_mask is None
