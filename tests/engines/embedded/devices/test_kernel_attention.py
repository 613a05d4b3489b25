"""The kernels against the slow twin: on a CPU in Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engines.core.device import SequenceChunk
from engines.embedded.devices.attention import write_kv
from engines.embedded.devices.attention_plan import slots_of
from engines.embedded.devices.step_inputs import StepInputs
from tests.engines.embedded.devices import test_attention as twin
from tests.engines.embedded.devices.kernels import DEVICE, IS_INTERPRETED

from engines.embedded.devices import kernel_attention  # isort: skip  # Triton was asked for above
from engines.embedded.devices.kernel_attention import (  # isort: skip
    HeadShape,
    KernelAttention,
    kernel_step,
    step_columns,
)

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 6e-2}
QWEN_LIKE = (7, 1)  # heads, KV heads: a group that fills no power of two
LLAMA_LIKE = (8, 2)
NO_GROUPS = (3, 3)


@pytest.fixture(autouse=True)
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a loop in Python here."""
    monkeypatch.setattr(kernel_attention, "ENOUGH_PROGRAMS", 8)


def attended(
    chunks: list[SequenceChunk],
    kv: Tensor,
    heads: Tensor,
    shape: HeadShape,
    block_stride: int,
) -> Tensor:
    """heads: [rows, heads + 2 KV heads, head_dim]."""
    device = torch.device(DEVICE)
    _, _, attention, _ = kernel_step(chunks, shape, block_stride, StepInputs(device, 8))
    layer = [*attention.layers(kv)][-1]
    queries, keys, values = torch.split(
        heads, [shape.num_heads, shape.num_kv_heads, shape.num_kv_heads], dim=1
    )
    write_kv(heads[:, shape.num_heads :], layer, attention.slots)
    return attention.attend(queries, keys, values, layer)


def check(
    parts: list[tuple[int, int]],
    *,
    dtype: torch.dtype,
    heads: tuple[int, int] = LLAMA_LIKE,
    head_dim: int = 16,
    block_size: int = 16,
    num_layers: int = 2,
    seed: int = 0,
) -> None:
    """parts: tokens in the cache and tokens of the chunk. One layer: dense, as in `per_layer`."""
    torch.manual_seed(seed)
    shape = HeadShape(
        num_heads=heads[0], num_kv_heads=heads[1], head_dim=head_dim, block_size=block_size
    )
    chunks = twin.chunks_of(parts, block_size, seed)
    num_blocks = sum(len(chunk.block_table) for chunk in chunks) + 5
    memory = torch.randn(
        (num_blocks, num_layers, 2, block_size, shape.num_kv_heads, head_dim), dtype=torch.float64
    )
    memory[0] = torch.nan  # nobody's block, unless it is somebody's
    kv = twin.by_layer(memory.to(dtype).to(DEVICE))
    num_rows = sum(len(chunk.token_ids) for chunk in chunks)
    rows = torch.randn(num_rows, heads[0] + 2 * heads[1], head_dim, dtype=torch.float64)
    rows = rows.to(dtype).to(DEVICE)
    if any(0 in chunk.block_table for chunk in chunks):
        kv[:, :, 0] = 1.0
    block_stride = block_size if num_layers == 1 else 2 * num_layers * block_size
    got = attended(chunks, kv, rows, shape, block_stride)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twin, "NUM_HEADS", heads[0])
        patch.setattr(twin, "NUM_KV_HEADS", heads[1])
        patch.setattr(twin, "HEAD_DIM", head_dim)
        cache = kv[-1].double().cpu()
        expected = twin.eager_attention(
            rows[:, : heads[0]].double().cpu(), cache, chunks, block_size
        )
    tolerance = TOLERANCES[dtype]
    torch.testing.assert_close(got.double().cpu(), expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=5)
@given(
    parts=st.lists(
        st.tuples(st.integers(0, 70), st.sampled_from([1, 1, 2, 5, 19])), min_size=1, max_size=3
    ),
    heads=st.sampled_from([QWEN_LIKE, LLAMA_LIKE, NO_GROUPS]),
    block_size=st.sampled_from([4, 16]),
    num_layers=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_a_mixed_batch_attends_as_its_eager_twin(
    parts: list[tuple[int, int]],
    heads: tuple[int, int],
    block_size: int,
    num_layers: int,
    seed: int,
) -> None:
    check(
        parts,
        dtype=torch.float64,
        heads=heads,
        block_size=block_size,
        num_layers=num_layers,
        seed=seed,
    )


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_every_number_format_and_layout_at_odd_lengths(dtype: torch.dtype, num_layers: int) -> None:
    check([(130, 1), (63, 1), (0, 1), (0, 21), (67, 5)], dtype=dtype, num_layers=num_layers)


@pytest.mark.parametrize("head_dim", [8, 80])
def test_a_head_size_that_is_no_power_of_two(head_dim: int) -> None:
    check([(40, 1), (0, 20)], dtype=torch.float32, head_dim=head_dim)


@pytest.mark.parametrize("num_splits", [1, 4, 32])
def test_parts_behind_a_sequences_end_weigh_nothing(
    num_splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 32 parts a sequence of two tiles fills two."""
    monkeypatch.setattr(kernel_attention, "ENOUGH_PROGRAMS", num_splits)
    check([(25, 1)], dtype=torch.float64, heads=(4, 1))


@pytest.mark.parametrize("num_splits", [1, 4])
def test_a_row_without_a_sequence_gets_zeros(
    num_splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_attention, "ENOUGH_PROGRAMS", 2 * num_splits)
    shape = HeadShape(num_heads=2, num_kv_heads=1, head_dim=16, block_size=4)
    lengths, nothing = torch.tensor([0, 3], device=DEVICE), torch.zeros(2, device=DEVICE)
    attention = KernelAttention(
        shape=shape,
        slots=lengths,
        lengths=lengths,
        starts=nothing.long(),
        tiles=lengths[:0],
        tables=nothing.long(),
    )
    assert attention.num_splits == num_splits
    kv = torch.ones(1, 2, 2, 4, 1, 16, device=DEVICE)
    queries = torch.ones(2, 2, 16, device=DEVICE)
    (layer,) = attention.layers(kv)
    got = attention.attend(queries, queries, queries, layer)
    assert torch.equal(got, torch.tensor([0.0, 1.0], device=DEVICE)[:, None, None].expand(2, 2, 16))


@given(
    num_rows=st.integers(1, 300),
    num_kv_heads=st.sampled_from([1, 2, 8]),
)
def test_parts_are_a_power_of_two_and_keep_the_device_busy(
    num_rows: int, num_kv_heads: int
) -> None:
    shape = HeadShape(num_heads=8, num_kv_heads=num_kv_heads, head_dim=16, block_size=4)
    rows = torch.zeros(num_rows, dtype=torch.int64)
    attention = KernelAttention(
        shape=shape, slots=rows, lengths=rows, starts=rows, tiles=rows[:0], tables=rows
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_attention, "ENOUGH_PROGRAMS", 256)
        num_splits = attention.num_splits
    num_programs = num_rows * num_kv_heads * num_splits
    assert num_splits.bit_count() == 1
    assert num_splits in (1, kernel_attention.MAX_SPLITS) or 128 < num_programs <= 256


@given(
    parts=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 50)), min_size=1, max_size=6),
    heads=st.sampled_from([QWEN_LIKE, LLAMA_LIKE, NO_GROUPS]),
)
def test_columns_say_each_row_once(parts: list[tuple[int, int]], heads: tuple[int, int]) -> None:
    shape = HeadShape(num_heads=heads[0], num_kv_heads=heads[1], head_dim=16, block_size=4)
    chunks = twin.chunks_of(parts, 4, 0)
    columns = step_columns(chunks, shape, 8)
    num_rows = sum(len(chunk.token_ids) for chunk in chunks)
    assert len(columns.token_ids) == len(columns.positions) == len(columns.slots) == num_rows
    assert columns.slots == [slot for chunk in chunks for slot in slots_of(chunk, 4, 8)]
    num_decodes = len(columns.lengths)
    seen = [(row, columns.lengths[row] - 1, columns.starts[row]) for row in range(num_decodes)]
    tiles = [columns.tiles[i : i + 4] for i in range(0, len(columns.tiles), 4)]
    for first_row, rows, position, start in tiles:
        assert 1 <= rows <= shape.prefill_rows
        seen += [(first_row + i, position + i, start) for i in range(rows)]
    assert [row for row, _, _ in seen] == [*range(num_rows)]
    for row, position, start in seen:
        assert columns.positions[row] == position
        block = columns.tables[start + position // 4]
        assert columns.slots[row] == block * 8 + position % 4


@pytest.mark.skipif(not IS_INTERPRETED, reason="on a GPU the other tests compile them")
def test_the_kernels_compile_for_hopper_and_fit_its_registers(tmp_path: Path) -> None:
    """In a process of its own, which does not interpret; a compiler needs no GPU."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.embedded.devices.compile_kernels", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[4],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    used = json.loads(done.stdout)
    assert used.keys() == {"decode_parts", "combine_parts", "prefill_tiles", "move_blocks"}
    for name, registers in used.items():
        assert registers["STACK"] == 0, (name, registers)  # nothing was put aside in memory
