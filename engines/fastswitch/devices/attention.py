"""Paged attention for a mixed batch: which rows attend to which blocks, and the kernels' calls.

An `AttentionPlan` is made once a step and used by every layer. Decodes come first in the batch,
one row each. They are cut into groups of like length, since a group is gathered as one padded
tensor: on 2 CPU cores this beats one padded batch (which wastes up to half of its reads on mixed
lengths, and leaves the cache) and one call per sequence (which pays the call 32 times a layer).
Prefill chunks follow, one call each, with the causal mask moved by what is already in the blocks.

A layer's blocks may lie apart (layout `cross_layer`): gathering a block reads its own stride, and
a slot counts the tokens that lie between blocks too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.fastswitch.device import SequenceChunk

MAX_GROUP_TOKENS = 4096  # padded; K and V of one layer then still fit the CPU's cache
MIN_FILL_RATIO = 0.75  # shortest over longest sequence of a group, in blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeGroup:
    """Decodes gathered together. Padding reads block 0 and is masked."""

    rows: Tensor  # [b] rows of the batch
    blocks: Tensor  # [b * max_blocks] block ids
    mask: Tensor  # [b, 1, 1, max_blocks * block_size] 0 or -inf, in the model's dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillChunk:
    start_row: int
    stop_row: int
    blocks: Tensor | None  # [num_blocks]; None: no prefix, the chunk's own K and V are all there is
    context_length: int  # prefix + chunk
    mask: Tensor | None  # [chunk, context] True = attends; None with no prefix (plain causal)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlan:
    slots: Tensor  # [num_rows] where each row's K and V go: block * block_stride + offset
    decode_groups: tuple[DecodeGroup, ...]
    prefill_chunks: tuple[PrefillChunk, ...]


def plan_attention(
    chunks: Sequence[SequenceChunk],
    block_size: int,
    *,
    block_stride: int | None = None,
    device: torch.device,
    dtype: torch.dtype,
) -> AttentionPlan:
    """`block_stride`: tokens from one block's first to the next one's, in one layer's K or V; as
    many as a block holds unless said otherwise."""
    block_stride = block_stride or block_size
    num_decodes = count_decodes(chunks)
    groups = group_by_length([chunk.start + 1 for chunk in chunks[:num_decodes]], block_size)
    prefills = []
    row = num_decodes
    for chunk in chunks[num_decodes:]:
        prefills.append(_prefill_chunk(chunk, row, block_size, device))
        row += len(chunk.token_ids)
    slots = [slot for chunk in chunks for slot in slots_of(chunk, block_size, block_stride)]
    return AttentionPlan(
        slots=torch.tensor(slots, device=device),
        decode_groups=tuple(
            _decode_group(rows, chunks, block_size, device, dtype) for rows in groups
        ),
        prefill_chunks=tuple(prefills),
    )


def count_decodes(chunks: Sequence[SequenceChunk]) -> int:
    """Length of the leading run of one-token chunks; a later one counts as prefill."""
    for index, chunk in enumerate(chunks):
        if len(chunk.token_ids) != 1:
            return index
    return len(chunks)


def group_by_length(lengths: Sequence[int], block_size: int) -> list[list[int]]:
    """Rows longest first, cut where a group would grow too large or too ragged."""
    groups: list[list[int]] = []
    longest = 0  # blocks, of the open group
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        num_blocks = -(-lengths[row] // block_size)
        if (
            not groups
            or (len(groups[-1]) + 1) * longest * block_size > MAX_GROUP_TOKENS
            or num_blocks < MIN_FILL_RATIO * longest
        ):
            groups.append([])
            longest = num_blocks
        groups[-1].append(row)
    return groups


def slots_of(chunk: SequenceChunk, block_size: int, block_stride: int) -> list[int]:
    stop = chunk.start + len(chunk.token_ids)
    return [
        chunk.block_table[position // block_size] * block_stride + position % block_size
        for position in range(chunk.start, stop)
    ]


def write_kv(keys: Tensor, values: Tensor, cache: tuple[Tensor, Tensor], slots: Tensor) -> None:
    """keys, values: [num_rows, num_kv_heads, head_dim] into [num_blocks, block_size, …]."""
    _token_rows(cache[0]).index_copy_(0, slots, keys)
    _token_rows(cache[1]).index_copy_(0, slots, values)


def _token_rows(blocks: Tensor) -> Tensor:
    """[num_blocks, block_size, …] as [num_tokens, …] with what lies between the blocks.

    Not `flatten`, which would quietly copy blocks that lie apart.
    """
    num_blocks, block_size, *token_shape = blocks.shape
    block_stride = blocks.stride(0) // blocks.stride(1)
    num_tokens = (num_blocks - 1) * block_stride + block_size
    return blocks.as_strided((num_tokens, *token_shape), blocks.stride()[1:])


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, cache: tuple[Tensor, Tensor], plan: AttentionPlan
) -> Tensor:
    """queries [num_rows, num_heads, head_dim]; keys, values: this step's own rows, already written.

    Returns [num_rows, num_heads, head_dim].
    """
    output = torch.empty_like(queries)
    for group in plan.decode_groups:
        output.index_copy_(0, group.rows, _attend_decodes(queries, cache, group))
    for chunk in plan.prefill_chunks:
        rows = slice(chunk.start_row, chunk.stop_row)
        if chunk.blocks is None:
            context = (keys[rows], values[rows])
        else:
            context = (
                gather(cache[0], chunk.blocks, chunk.context_length),
                gather(cache[1], chunk.blocks, chunk.context_length),
            )
        output[rows] = _attend_prefill(queries[rows], *context, chunk.mask)
    return output


def gather(cache: Tensor, blocks: Tensor, num_tokens: int) -> Tensor:
    """One sequence's K or V, [num_tokens, num_kv_heads, head_dim]."""
    return cache.index_select(0, blocks).flatten(0, 1)[:num_tokens]


def _attend_decodes(queries: Tensor, cache: tuple[Tensor, Tensor], group: DecodeGroup) -> Tensor:
    # The query heads that share a KV head become the rows of one small query matrix, so that
    # GQA needs no repeated K and V: [b, num_kv_heads, heads per KV head, head_dim].
    num_kv_heads, head_dim = cache[0].shape[2:]
    num_rows = len(group.rows)
    grouped = queries.index_select(0, group.rows).view(num_rows, num_kv_heads, -1, head_dim)
    shape = (num_rows, -1, num_kv_heads, head_dim)
    keys = cache[0].index_select(0, group.blocks).view(shape).transpose(1, 2)
    values = cache[1].index_select(0, group.blocks).view(shape).transpose(1, 2)
    output = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=group.mask)
    return output.reshape(num_rows, -1, head_dim)


def _attend_prefill(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    output = F.scaled_dot_product_attention(
        queries.transpose(0, 1)[None],
        keys.transpose(0, 1)[None],
        values.transpose(0, 1)[None],
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=True,
    )
    return output[0].transpose(0, 1)


def _decode_group(
    rows: Sequence[int],
    chunks: Sequence[SequenceChunk],
    block_size: int,
    device: torch.device,
    dtype: torch.dtype,
) -> DecodeGroup:
    lengths = torch.tensor([chunks[row].start + 1 for row in rows])
    num_blocks = -(-int(lengths.max()) // block_size)
    blocks = torch.zeros(len(rows), num_blocks, dtype=torch.int64)
    for index, row in enumerate(rows):
        table = chunks[row].block_table[: chunks[row].start // block_size + 1]
        blocks[index, : len(table)] = torch.tensor(table)
    is_padding = torch.arange(num_blocks * block_size)[None, :] >= lengths[:, None]
    mask = torch.zeros(is_padding.shape, dtype=dtype).masked_fill_(is_padding, -torch.inf)
    return DecodeGroup(
        rows=torch.tensor(rows, device=device),
        blocks=blocks.flatten().to(device),
        mask=mask[:, None, None, :].to(device),
    )


def _prefill_chunk(
    chunk: SequenceChunk, row: int, block_size: int, device: torch.device
) -> PrefillChunk:
    num_rows = len(chunk.token_ids)
    context_length = chunk.start + num_rows
    blocks = mask = None
    if chunk.start > 0:
        num_blocks = -(-context_length // block_size)
        blocks = torch.tensor(chunk.block_table[:num_blocks], device=device)
        mask = torch.ones(num_rows, context_length, dtype=torch.bool, device=device)
        mask = mask.tril_(chunk.start)
    return PrefillChunk(
        start_row=row,
        stop_row=row + num_rows,
        blocks=blocks,
        context_length=context_length,
        mask=mask,
    )
