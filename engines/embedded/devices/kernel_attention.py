"""Paged attention by the kernels of `attention_kernels`: what they are told, and their launches.

A batch takes two launches a layer, or three: its decodes (split over KV heads and parts of each
sequence, put together by the second one where there are several parts), and all chunks of prompts,
with a prefix or without, in a single call of variable lengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engines.core.device import SequenceChunk
from engines.embedded.devices.attention import LayerKv, token_slots
from engines.embedded.devices.attention_kernels import (
    combine_parts,
    decode_parts,
    prefill_tiles,
)
from engines.embedded.devices.attention_plan import count_decodes, slots_of
from engines.embedded.devices.step_inputs import StepInputs
from engines.models.model_config import ModelConfig

# Programs that keep a GPU of about 130 multiprocessors busy; a sequence is cut into no more parts.
ENOUGH_PROGRAMS = 256
MAX_SPLITS = 32
PREFILL_GROUP = 64  # a tile's rows times query heads per KV head: one matrix
MIN_DOT = 16  # the least that tensor cores multiply, either way
# Tokens read at once: as many as leave a program in its registers, checked with head_dim 128.
TILE_TOKENS = {torch.bfloat16: 64, torch.float16: 64, torch.float32: 32, torch.float64: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """What a kernel is compiled for."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    block_size: int

    @property
    def heads_per_kv(self) -> int:
        return self.num_heads // self.num_kv_heads

    @property
    def prefill_rows(self) -> int:
        """Returns how many rows one tile has."""
        return max(1, PREFILL_GROUP // self.heads_per_kv)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepColumns:
    """One step's integers by column, on the host: what one copy brings to the device."""

    token_ids: list[int]
    positions: list[int]
    slots: list[int]
    sample_rows: list[int]
    lengths: list[int]  # of each decode's sequence, its new token included
    starts: list[int]  # where in `tables` each decode's table starts
    tiles: list[int]  # of prompts' chunks, four numbers each
    tables: list[int]

    @property
    def in_order(self) -> tuple[list[int], ...]:
        return (
            self.token_ids,
            self.positions,
            self.slots,
            self.sample_rows,
            self.lengths,
            self.starts,
            self.tiles,
            self.tables,
        )


def step_columns(
    chunks: Sequence[SequenceChunk], shape: HeadShape, block_stride: int
) -> StepColumns:
    """Rows lie in the batch's order. `block_stride`: see `plan_attention`."""
    columns = StepColumns(
        token_ids=[],
        positions=[],
        slots=[],
        sample_rows=[],
        lengths=[],
        starts=[],
        tiles=[],
        tables=[],
    )
    num_decodes = count_decodes(chunks)
    for index, chunk in enumerate(chunks):
        first_row, start, num_rows = len(columns.token_ids), chunk.start, len(chunk.token_ids)
        columns.token_ids.extend(chunk.token_ids)
        columns.positions.extend(range(start, start + num_rows))
        columns.slots.extend(slots_of(chunk, shape.block_size, block_stride))
        if chunk.sampling is not None:
            columns.sample_rows.append(first_row + num_rows - 1)
        table_start = len(columns.tables)
        if index < num_decodes:
            columns.lengths.append(start + 1)
            columns.starts.append(table_start)
        else:
            for offset in range(0, num_rows, shape.prefill_rows):
                rows = min(shape.prefill_rows, num_rows - offset)
                columns.tiles.extend((first_row + offset, rows, start + offset, table_start))
        num_blocks = -(-(start + num_rows) // shape.block_size)
        columns.tables.extend(chunk.block_table[:num_blocks])
    return columns


@dataclass(frozen=True, kw_only=True)
class KernelAttention:
    """Implements `attention.Attention` for one step. Its tensors lie on the device, int64."""

    shape: HeadShape
    slots: Tensor
    lengths: Tensor
    starts: Tensor
    tiles: Tensor  # [4 * num_tiles]
    tables: Tensor

    @cached_property
    def num_splits(self) -> int:
        """Returns a power of two, from the number of decodes alone: a recorded step keeps it."""
        num_programs = max(1, len(self.lengths) * self.shape.num_kv_heads)
        wanted = ENOUGH_PROGRAMS // num_programs
        return min(MAX_SPLITS, 1 << max(0, wanted.bit_length() - 1))

    def layers(self, kv: Tensor) -> Iterator[LayerKv]:
        """kv: `KvPool.by_layer`."""
        for blocks, slots in zip(kv.unbind(0), token_slots(kv).unbind(0), strict=True):
            yield LayerKv(blocks, slots, ())

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, kv: LayerKv) -> Tensor:
        """Returns what `Attention.attend` says; K and V are read from the blocks."""
        outputs = queries.new_empty(queries.shape)
        num_decodes = len(self.lengths)
        if num_decodes:
            self._decode(queries, kv.blocks, outputs)
        if len(self.tiles):
            self._prefill(queries, kv.blocks, outputs)
        return outputs

    def _decode(self, queries: Tensor, blocks: Tensor, outputs: Tensor) -> None:
        shape, num_splits = self.shape, self.num_splits
        num_rows = len(self.lengths)
        number = torch.promote_types(queries.dtype, torch.float32)
        num_parts = num_rows * shape.num_heads * num_splits if num_splits > 1 else 1
        parts = torch.empty((num_parts, shape.head_dim), dtype=number, device=queries.device)
        sums = torch.empty((num_parts, 2), dtype=number, device=queries.device)
        decode_parts[num_rows, shape.num_kv_heads, num_splits](
            queries,
            blocks,
            self.lengths,
            self.starts,
            self.tables,
            outputs,
            parts,
            sums,
            *_strides(queries, blocks),
            GROUP=max(MIN_DOT, _power_of_two(shape.heads_per_kv)),
            NUM_SPLITS=num_splits,
            **kernel_constants(shape, queries.dtype),
        )
        if num_splits > 1:
            combine_parts[(num_rows * shape.num_heads,)](
                parts,
                sums,
                outputs,
                HEAD_DIM=shape.head_dim,
                DIM=max(MIN_DOT, _power_of_two(shape.head_dim)),
                NUM_SPLITS=num_splits,
            )

    def _prefill(self, queries: Tensor, blocks: Tensor, outputs: Tensor) -> None:
        shape = self.shape
        rows = shape.prefill_rows
        prefill_tiles[len(self.tiles) // 4, shape.num_kv_heads](
            queries,
            blocks,
            self.tiles,
            self.tables,
            outputs,
            *_strides(queries, blocks),
            ROWS=rows,
            GROUP=max(MIN_DOT, _power_of_two(rows * shape.heads_per_kv)),
            **kernel_constants(shape, queries.dtype),
        )


def kernel_constants(shape: HeadShape, dtype: torch.dtype) -> dict[str, float | int | bool]:
    return {
        "SCALE": math.log2(math.e) / math.sqrt(shape.head_dim),
        "BLOCK_SIZE": shape.block_size,
        "HEAD_DIM": shape.head_dim,
        "DIM": max(MIN_DOT, _power_of_two(shape.head_dim)),
        "HEADS_PER_KV": shape.heads_per_kv,
        "USES_DOT": dtype != torch.float64,
        "TILE": TILE_TOKENS[dtype],
        "num_warps": 4 if dtype.itemsize == 2 else 8,
    }


def kernel_step(
    chunks: Sequence[SequenceChunk], shape: HeadShape, block_stride: int, inputs: StepInputs
) -> tuple[Tensor, Tensor, KernelAttention, Tensor]:
    """Brings a step's integers to the device, and returns token ids, positions, attention and the
    rows that sample."""
    columns = step_columns(chunks, shape, block_stride).in_order
    inputs.grow(sum(map(len, columns)))
    token_ids, positions, slots, sample_rows, *rest = inputs.fill(columns)
    lengths, starts, tiles, tables = rest
    attention = KernelAttention(
        shape=shape, slots=slots, lengths=lengths, starts=starts, tiles=tiles, tables=tables
    )
    return token_ids, positions, attention, sample_rows


def head_shape(config: ModelConfig, block_size: int) -> HeadShape:
    return HeadShape(
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        block_size=block_size,
    )


def _strides(queries: Tensor, blocks: Tensor) -> tuple[int, ...]:
    """Returns the strides of rows and heads; of K | V, blocks, tokens and heads."""
    assert queries.stride(2) == blocks.stride(4) == 1, (queries.stride(), blocks.stride())
    return (*queries.stride()[:2], *blocks.stride()[:4])


def _power_of_two(number: int) -> int:
    """Returns the least power of two that is not below it."""
    return 1 << (number - 1).bit_length()
