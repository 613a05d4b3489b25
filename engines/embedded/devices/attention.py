"""Paged attention for a mixed batch: the kernels' calls, as an `AttentionPlan` says.

A layer's blocks may lie apart (layout `cross_layer`): gathering a block reads its own stride, and
a slot counts the tokens that lie between blocks too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.embedded.devices.attention_plan import (
    MASK_ROWS,
    AttentionPlan,
    Blocks,
    DecodeGroup,
)

Context = tuple[Tensor, Tensor]  # K and V, each [b, num_kv_heads, num_tokens, head_dim]


@dataclass(frozen=True, slots=True)
class LayerKv:
    """One layer's blocks, as a step reads and writes them."""

    blocks: Tensor  # [K | V, num_blocks, block_size, num_kv_heads, head_dim]
    slots: Tensor  # the same memory, [K | V, num_slots, num_kv_heads, head_dim]
    views: Sequence[Context | None]  # of each decode group; None: its blocks are to be gathered


class Attention(Protocol):
    """How one step's rows attend to what is cached, whoever computes it."""

    @property
    def slots(self) -> Tensor:
        """Returns where each row's K and V are written to, [num_rows]."""
        ...

    def layers(self, kv: Tensor) -> Iterator[LayerKv]:
        """Returns what `attend` wants of each layer; kv: `KvPool.by_layer`."""
        ...

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, kv: LayerKv) -> Tensor:
        """Returns what each row finds, [num_rows, num_heads, head_dim], contiguous. queries
        [num_rows, num_heads, head_dim]; keys, values: the step's own rows, which were written to
        `kv` before."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedAttention:
    """Implements `Attention` with torch's own kernels, on any device."""

    plan: AttentionPlan

    @property
    def slots(self) -> Tensor:
        return self.plan.slots

    def layers(self, kv: Tensor) -> Iterator[LayerKv]:
        return layers_of(kv, self.plan)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, kv: LayerKv) -> Tensor:
        return attend(queries, keys, values, kv, self.plan)


def layers_of(kv: Tensor, plan: AttentionPlan) -> Iterator[LayerKv]:
    """Returns each layer's views; kv: [layers, K | V, num_blocks, block_size, num_kv_heads,
    head_dim].

    Views are cut out for all layers together: a call a group, and not one a group and layer.
    """
    block_size = kv.shape[3]
    slots = token_slots(kv)
    by_head = slots.transpose(2, 3)
    parts = by_head.view(-1, 1, *by_head.shape[2:])
    views = [_views(parts, group, block_size) for group in plan.decode_groups]
    for index, (blocks, layer_slots) in enumerate(zip(kv.unbind(0), slots.unbind(0), strict=True)):
        layer_views = [None if view is None else view[index] for view in views]
        yield LayerKv(blocks, layer_slots, layer_views)


def token_slots(kv: Tensor) -> Tensor:
    """Returns [layers, K | V, num_slots, …]: blocks as tokens, with what lies between the blocks.

    Not `flatten`, which would quietly copy blocks that lie apart.
    """
    num_layers, parts, num_blocks, block_size, *token_shape = kv.shape
    layer_stride, part_stride, block_stride, *token_strides = kv.stride()
    num_slots = (num_blocks - 1) * (block_stride // token_strides[0]) + block_size
    return kv.as_strided(
        (num_layers, parts, num_slots, *token_shape),
        (layer_stride, part_stride, *token_strides),
        kv.storage_offset(),
    )


def _views(parts: Tensor, group: DecodeGroup, block_size: int) -> list[Context] | None:
    """Returns views by layer; parts: [layers * (K | V), 1, num_kv_heads, num_slots, head_dim]."""
    if not isinstance(group.blocks, slice):
        return None
    start = group.blocks.start * block_size
    tensors = parts[:, :, :, start : start + group.num_tokens].unbind(0)
    return list(zip(tensors[0::2], tensors[1::2], strict=True))


def write_kv(rows: Tensor, kv: LayerKv, slots: Tensor) -> None:
    """Writes the rows to their slots; rows: [num_rows, 2 num_kv_heads, head_dim], a token's K and
    then its V."""
    num_rows, num_heads, head_dim = rows.shape
    parts = rows.view(num_rows, 2, num_heads // 2, head_dim)
    kv.slots.index_copy_(1, slots, parts.transpose(0, 1))


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, kv: LayerKv, plan: AttentionPlan
) -> Tensor:
    """Returns what each row finds, [num_rows, num_heads, head_dim].

    queries [num_rows, num_heads, head_dim]; keys, values: this step's own rows, already written.
    """
    outputs = [_attend_decodes(queries, kv, plan.decode_groups)] if plan.decode_groups else []
    for chunk in plan.prefill_chunks:
        rows = slice(chunk.start_row, chunk.stop_row)
        if chunk.blocks is None:
            context = (keys[rows], values[rows])
        else:
            tokens = gather(kv.blocks, chunk.blocks)[:, : chunk.context_length]
            context = (tokens[0], tokens[1])
        outputs.append(_attend_prefill(queries[rows], *context, plan.causal_mask))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def gather(kv: Tensor, blocks: Blocks) -> Tensor:
    """Returns a layer's K and V of these blocks, [K | V, num_tokens, num_kv_heads, head_dim]; of
    neighbours a view."""
    if isinstance(blocks, slice):
        return kv[:, blocks].flatten(1, 2)
    return kv.index_select(1, blocks).flatten(1, 2)


def _gathered(kv: Tensor, group: DecodeGroup) -> Context:
    num_rows = group.stop_row - group.start_row
    tokens = gather(kv, group.blocks).view(2, num_rows, -1, *kv.shape[3:])
    keys, values = tokens.transpose(2, 3).unbind(0)
    return keys, values


def _attend_decodes(queries: Tensor, kv: LayerKv, groups: Sequence[DecodeGroup]) -> Tensor:
    # The query heads that share a KV head become the rows of one small query matrix, so that
    # GQA needs no repeated K and V: [b, num_kv_heads, heads per KV head, head_dim].
    _, num_heads, head_dim = queries.shape
    num_rows = groups[-1].stop_row
    grouped = queries[:num_rows].view(num_rows, kv.blocks.shape[3], -1, head_dim)
    split = torch.split(grouped, [group.stop_row - group.start_row for group in groups])
    # What was gathered has no name here: it is freed at once, and the next group takes its place
    # in the cache. Two of them alive make the whole step 1.06 times as long (32 paged requests).
    outputs = [
        F.scaled_dot_product_attention(
            rows, *(view or _gathered(kv.blocks, group)), attn_mask=group.mask
        )
        for rows, view, group in zip(split, kv.views, groups, strict=True)
    ]
    return torch.cat(outputs).reshape(num_rows, num_heads, head_dim)


def _attend_prefill(
    queries: Tensor, keys: Tensor, values: Tensor, causal_mask: Tensor | None
) -> Tensor:
    """Returns what a chunk's rows find: queries [num_rows, …] are the last of the context's tokens,
    keys and values [context, …]."""
    num_rows, num_tokens = len(queries), len(keys)
    if num_rows == num_tokens:
        return _attend_whole(queries, keys, values, mask=None, is_causal=True)
    assert causal_mask is not None
    outputs = []
    for start in range(0, num_rows, MASK_ROWS):
        rows = queries[start : start + MASK_ROWS]
        stop = num_tokens - num_rows + start + len(rows)
        mask = causal_mask[-len(rows) :, -stop:]
        outputs.append(_attend_whole(rows, keys[:stop], values[:stop], mask=mask, is_causal=False))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _attend_whole(
    queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, is_causal: bool
) -> Tensor:
    output = F.scaled_dot_product_attention(
        queries.transpose(0, 1)[None],
        keys.transpose(0, 1)[None],
        values.transpose(0, 1)[None],
        attn_mask=mask,
        is_causal=is_causal,
        enable_gqa=True,
    )
    return output[0].transpose(0, 1)
