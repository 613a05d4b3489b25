"""Which rows of a mixed batch attend to which blocks: made once a step, used by every layer.

Decodes come first, one row each. Where a sequence's blocks are neighbours, as block groups make
them, a CPU gathers nothing: a decode attends on its own to a view of the cache, and so does a chunk
to its prefix. What 8 layers of 10 such decodes take, beside gathering them: 0.8 times the time with
128 tokens each, 0.55 with 512 (one thread).

Other decodes are cut into groups of like length, since a group is gathered as one padded tensor: on
2 CPU cores this beats one padded batch (which wastes up to half of its reads on mixed lengths, and
leaves the cache) and one call per sequence. Prefill chunks follow, with the causal mask moved by
what is already in the blocks. A chunk with a prefix is cut into a call each MASK_ROWS rows, so that
all of them share one mask of so many rows: as a matrix of its own a chunk's would take rows times
context, 128 MiB for 8,192 rows with as many before them.

The plan says in which order the batch's rows lie, so that each group is a range of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engines.core.device import SequenceChunk

# Padded. On a CPU, K and V of one layer then still fit its cache; on CUDA, few launches matter.
MAX_GROUP_TOKENS = {"cpu": 4096, "cuda": 65_536}
MIN_FILL_RATIO = 0.75  # shortest over longest sequence of a group, in blocks
MASK_ROWS = 128
MIN_VIEW_TOKENS = 128  # of a decode: from here on a call of its own costs less than gathering

Blocks = Tensor | slice  # block ids, or neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeGroup:
    """Decodes gathered together. Padding reads block 0 and is masked."""

    start_row: int
    stop_row: int
    blocks: Blocks  # [b * max_blocks]
    num_tokens: int  # attended to by each; padding included
    mask: Tensor | None  # [b, 1, 1, num_tokens] 0 or -inf, in the model's dtype; None: no padding


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillChunk:
    start_row: int
    stop_row: int
    blocks: Blocks | None  # [num_blocks]; None: no prefix, the chunk's own K and V are all there is
    context_length: int  # prefix + chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlan:
    order: tuple[int, ...]  # of the batch's chunks: the rows of the first one come first
    slots: Tensor  # [num_rows] where each row's K and V go: block * block_stride + offset
    decode_groups: tuple[DecodeGroup, ...]
    prefill_chunks: tuple[PrefillChunk, ...]
    causal_mask: Tensor | None  # of all chunks with a prefix, see `shared_causal_mask`


def plan_attention(
    chunks: Sequence[SequenceChunk],
    block_size: int,
    *,
    block_stride: int | None = None,
    device: torch.device,
    dtype: torch.dtype,
) -> AttentionPlan:
    """Returns which rows read which blocks. `block_stride`: tokens from one block's first to the
    next one's, in one layer's K or V; as many as a block holds unless said otherwise."""
    block_stride = block_stride or block_size
    num_decodes = count_decodes(chunks)
    # A view needs a layer's blocks side by side; on CUDA a gather costs less than a call.
    has_views = block_stride == block_size and device.type == "cpu"
    views = {
        row
        for row, chunk in enumerate(chunks[:num_decodes])
        if has_views and _are_neighbours(chunk, block_size)
    }
    alone = {row for row in views if chunks[row].start >= MIN_VIEW_TOKENS}
    together = {row: chunks[row].start + 1 for row in range(num_decodes) if row not in alone}
    members = [[row] for row in sorted(alone)]
    members += group_by_length(together, block_size, device.type)
    groups = []
    row = 0
    for group in members:
        if len(group) == 1 and group[0] in views:
            groups.append(_view(row, chunks[group[0]], block_size))
        else:
            sequences = [chunks[index] for index in group]
            groups.append(_decode_group(row, sequences, block_size, device, dtype))
        row += len(group)
    prefills = []
    for chunk in chunks[num_decodes:]:
        prefills.append(_prefill_chunk(chunk, row, block_size, device, has_views=has_views))
        row += len(chunk.token_ids)
    order = [index for group in members for index in group] + [*range(num_decodes, len(chunks))]
    slots = [slot for index in order for slot in slots_of(chunks[index], block_size, block_stride)]
    return AttentionPlan(
        order=tuple(order),
        slots=torch.tensor(slots, device=device),
        decode_groups=tuple(groups),
        prefill_chunks=tuple(prefills),
        causal_mask=shared_causal_mask(prefills, device),
    )


def count_decodes(chunks: Sequence[SequenceChunk]) -> int:
    """Returns the length of the leading run of one-token chunks; a later one counts as prefill."""
    for index, chunk in enumerate(chunks):
        if len(chunk.token_ids) != 1:
            return index
    return len(chunks)


def group_by_length(
    lengths: dict[int, int], block_size: int, device_type: str = "cpu"
) -> list[list[int]]:
    """Returns rows in groups, longest first, cut where a group would grow too large or too ragged;
    `lengths` by row."""
    max_tokens = MAX_GROUP_TOKENS[device_type]
    groups: list[list[int]] = []
    longest = 0  # blocks, of the open group
    for row in sorted(lengths, key=lambda row: -lengths[row]):
        num_blocks = -(-lengths[row] // block_size)
        if (
            not groups
            or (len(groups[-1]) + 1) * longest * block_size > max_tokens
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


def _used_blocks(chunk: SequenceChunk, block_size: int) -> Sequence[int]:
    num_blocks = -(-(chunk.start + len(chunk.token_ids)) // block_size)
    return chunk.block_table[:num_blocks]


def _are_neighbours(chunk: SequenceChunk, block_size: int) -> bool:
    used = _used_blocks(chunk, block_size)
    first = used[0]
    # Most tables that are no run end elsewhere; only the others are looked through.
    return used[-1] - first == len(used) - 1 and list(used) == [*range(first, first + len(used))]


def _neighbours(chunk: SequenceChunk, block_size: int) -> slice:
    used = _used_blocks(chunk, block_size)
    return slice(used[0], used[0] + len(used))


def _view(row: int, chunk: SequenceChunk, block_size: int) -> DecodeGroup:
    return DecodeGroup(
        start_row=row,
        stop_row=row + 1,
        blocks=_neighbours(chunk, block_size),
        num_tokens=chunk.start + 1,
        mask=None,
    )


def _decode_group(
    row: int,
    chunks: Sequence[SequenceChunk],
    block_size: int,
    device: torch.device,
    dtype: torch.dtype,
) -> DecodeGroup:
    lengths = torch.tensor([chunk.start + 1 for chunk in chunks])
    num_blocks = -(-int(lengths.max()) // block_size)
    tables = [_used_blocks(chunk, block_size) for chunk in chunks]
    blocks = torch.tensor([[*table, *[0] * (num_blocks - len(table))] for table in tables])
    is_padding = torch.arange(num_blocks * block_size)[None, :] >= lengths[:, None]
    mask = torch.zeros(is_padding.shape, dtype=dtype).masked_fill_(is_padding, -torch.inf)
    return DecodeGroup(
        start_row=row,
        stop_row=row + len(chunks),
        blocks=blocks.flatten().to(device),
        num_tokens=num_blocks * block_size,
        mask=mask[:, None, None, :].to(device),
    )


def _prefill_chunk(
    chunk: SequenceChunk, row: int, block_size: int, device: torch.device, *, has_views: bool
) -> PrefillChunk:
    num_rows = len(chunk.token_ids)
    context_length = chunk.start + num_rows
    blocks: Blocks | None = None
    if chunk.start > 0:
        if has_views and _are_neighbours(chunk, block_size):
            blocks = _neighbours(chunk, block_size)
        else:
            blocks = torch.tensor(_used_blocks(chunk, block_size), device=device)
    return PrefillChunk(
        start_row=row,
        stop_row=row + num_rows,
        blocks=blocks,
        context_length=context_length,
    )


def shared_causal_mask(prefills: Sequence[PrefillChunk], device: torch.device) -> Tensor | None:
    """Returns [rows, longest context], True = attends; None if no chunk has a prefix.

    Its rows are the context's last ones. The last n rows and m columns are the mask of n rows that
    are the last of m tokens, whatever n and m are.
    """
    behind = [each for each in prefills if each.blocks is not None]
    if not behind:
        return None
    num_rows = min(MASK_ROWS, max(each.stop_row - each.start_row for each in behind))
    num_tokens = max(each.context_length for each in behind)
    mask = torch.ones(num_rows, num_tokens, dtype=torch.bool, device=device)
    return mask.tril_(num_tokens - num_rows)
