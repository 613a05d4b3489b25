"""Paged attention for a mixed batch: the kernels' calls, as an `AttentionPlan` says.

A layer's blocks may lie apart (layout `cross_layer`): gathering a block reads its own stride, and
a slot counts the tokens that lie between blocks too.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.fastswitch.devices.attention_plan import (
    AttentionPlan,
    Blocks,
    DecodeGroup,
    PrefillChunk,
)


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
                gather(cache[0], chunk.blocks)[: chunk.context_length],
                gather(cache[1], chunk.blocks)[: chunk.context_length],
            )
        output[rows] = _attend_prefill(queries[rows], *context, chunk)
    return output


def gather(cache: Tensor, blocks: Blocks) -> Tensor:
    """K or V of these blocks, [num_tokens, num_kv_heads, head_dim]; of neighbours a view."""
    if isinstance(blocks, slice):
        return cache[blocks].flatten(0, 1)
    return cache.index_select(0, blocks).flatten(0, 1)


def _attend_decodes(queries: Tensor, cache: tuple[Tensor, Tensor], group: DecodeGroup) -> Tensor:
    # The query heads that share a KV head become the rows of one small query matrix, so that
    # GQA needs no repeated K and V: [b, num_kv_heads, heads per KV head, head_dim].
    num_kv_heads, head_dim = cache[0].shape[2:]
    num_rows = len(group.rows)
    grouped = queries.index_select(0, group.rows).view(num_rows, num_kv_heads, -1, head_dim)
    keys, values = (
        gather(part, group.blocks)
        .unflatten(0, (num_rows, -1))[:, : group.num_tokens]
        .transpose(1, 2)
        for part in cache
    )
    output = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=group.mask)
    return output.reshape(num_rows, -1, head_dim)


def _attend_prefill(queries: Tensor, keys: Tensor, values: Tensor, chunk: PrefillChunk) -> Tensor:
    output = F.scaled_dot_product_attention(
        queries.transpose(0, 1)[None],
        keys.transpose(0, 1)[None],
        values.transpose(0, 1)[None],
        # A CausalBias stands in for a mask; it says itself how the call is made.
        attn_mask=cast("Tensor | None", chunk.mask),
        is_causal=chunk.mask is None,
        enable_gqa=True,
    )
    return output[0].transpose(0, 1)
