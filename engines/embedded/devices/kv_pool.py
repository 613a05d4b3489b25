"""A pool of KV blocks, and how a block lies in it.

`per_layer`: [layers, K | V, blocks, …]: a block is in 2 × layers parts, far from each other.
`cross_layer`: [blocks, layers, K | V, …]: a block is one part, which one copy moves.

Copying sees either as [parts, blocks, values]. Attention sees each layer's K and V as [blocks,
block_size, kv_heads, head_dim] with a stride from block to block; reading and writing whole tokens
costs the same in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engines.core.settings import Layout
from engines.embedded.devices.pinned_memory import PinnedMemory
from engines.errors import EngineInputError
from engines.models.model_config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    num_layers: int
    block_size: int  # tokens
    num_kv_heads: int
    head_dim: int
    dtype: torch.dtype
    layout: Layout

    @property
    def num_bytes(self) -> int:
        """Returns the bytes of K and V of all layers."""
        num_values = 2 * self.num_layers * self.block_size * self.num_kv_heads * self.head_dim
        return num_values * self.dtype.itemsize

    @property
    def num_parts(self) -> int:
        """Returns how many pieces in memory a block has."""
        return 1 if self.layout == "cross_layer" else 2 * self.num_layers

    @property
    def stride_tokens(self) -> int:
        """Returns the tokens from a block's first to the next block's, in one layer's K or V."""
        return self.block_size * 2 * self.num_layers // self.num_parts


def block_shape(
    config: ModelConfig, dtype: torch.dtype, *, block_size: int, layout: Layout
) -> BlockShape:
    return BlockShape(
        num_layers=config.num_layers,
        block_size=block_size,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        dtype=dtype,
        layout=layout,
    )


@dataclass(frozen=True, slots=True)
class KvPool:
    """`by_part` and `by_layer` are views of the same memory."""

    shape: BlockShape
    by_part: Tensor  # [parts, blocks, values], contiguous
    by_layer: Tensor  # [layers, K | V, blocks, block_size, kv_heads, head_dim]
    pinned: PinnedMemory | None = None  # what both lie in, if it is pinned

    @property
    def num_blocks(self) -> int:
        return self.by_part.shape[1]

    def close(self) -> None:
        """Unpins the memory. May be called twice."""
        if self.pinned is not None:
            self.pinned.close()


def allocate_pool(
    shape: BlockShape, num_blocks: int, device: torch.device, *, pin_memory: bool = False
) -> KvPool:
    """Returns zeroed memory, because padding reads block 0 and a NaN there would survive its mask.

    Raises EngineInputError: the memory is not to be had.
    """
    block = (shape.block_size, shape.num_kv_heads, shape.head_dim)
    if shape.layout == "cross_layer":
        sizes = (num_blocks, shape.num_layers, 2, *block)
    else:
        sizes = (shape.num_layers, 2, num_blocks, *block)
    pinned = None
    try:
        if pin_memory and num_blocks:
            pinned = PinnedMemory(num_blocks * shape.num_bytes)
            memory = pinned.values.view(shape.dtype).view(sizes)
        else:
            memory = torch.zeros(sizes, dtype=shape.dtype, device=device)
    except (RuntimeError, OSError, OverflowError) as error:
        raise EngineInputError(
            f"KV pool of {num_blocks} blocks needs {num_blocks * shape.num_bytes / 2**30:.1f} GiB"
            f" on {device}, which was refused ({str(error).splitlines()[0]}); lower kv_tokens or"
            " swap_tokens"
        ) from None
    by_layer = memory.permute(1, 2, 0, 3, 4, 5) if shape.layout == "cross_layer" else memory
    num_values = math.prod(block) * 2 * shape.num_layers // shape.num_parts
    by_part = memory.view(shape.num_parts, num_blocks, num_values)
    return KvPool(shape, by_part, by_layer, pinned)
