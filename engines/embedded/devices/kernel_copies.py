"""Launches `copy_kernels.move_blocks` for a transfer's runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engines.core.device import BlockRun
from engines.embedded.devices.copy_kernels import move_blocks

# Few of a GPU's multiprocessors, so that the model keeps the others; their loads in flight are
# what a link of 60 GB/s carries in the microseconds that one takes.
NUM_PROGRAMS = 32
TILE_WORDS = 1024
WORDS = (torch.int64, torch.int32, torch.int16, torch.uint8)


def blocks_of(runs: Sequence[BlockRun]) -> Tensor:
    """Returns [source | target, blocks] on the CPU, each block of each run."""
    table = np.array(runs, dtype=np.int64).reshape(-1, 3)
    lengths = table[:, 2]
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return torch.from_numpy(np.repeat(table[:, :2].T, lengths, axis=1) + offsets)


def move_by_kernel(source: Tensor, target: Tensor, blocks: Tensor) -> None:
    """Moves blocks between pools [parts, blocks, values]; `blocks` lies where the kernel runs, on
    the current stream."""
    source, target = as_words(source), as_words(target)
    move_blocks[(NUM_PROGRAMS,)](
        source,
        target,
        blocks,
        blocks.shape[1],
        len(source),
        source.shape[2],
        source.stride(0),
        target.stride(0),
        TILE=TILE_WORDS,
    )


def as_words(pool: Tensor) -> Tensor:
    """Returns the same memory in the largest numbers that a block's part is a multiple of."""
    num_bytes = pool.shape[2] * pool.element_size()
    word = next(word for word in WORDS if num_bytes % word.itemsize == 0)
    return pool.view(torch.uint8).view(word)
