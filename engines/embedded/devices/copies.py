"""From block runs to copy calls, and the copies of a CPU.

What `num_copies` counts, for a transfer of b blocks in r runs with a model of l layers:

| copy      | layout: per_layer | cross_layer |                                             |
|-----------|-------------------|-------------|---------------------------------------------|
| per_block | 2 · l · b         | b           | a call moves one block's part               |
| merged    | 2 · l · r         | r           | a call moves one run's part                 |
| batched   | ceil(b / n)       | ceil(b / n) | a call moves n blocks, runs and parts alike |
| kernel    | 1                 | 1           | threads of a GPU move them all              |

n is as many blocks as BATCH_BYTES hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.core.device import BlockRun, Direction, Transfer, TransferStats
from engines.core.settings import Copy
from engines.embedded.devices.copy_queue import CopyQueue
from engines.embedded.devices.kv_pool import BlockShape, KvPool

T = TypeVar("T")
Bytes = Sequence[npt.NDArray[np.uint8]]  # of each part, [blocks, bytes]

# A CPU's threads copy a long transfer in batches, so that other work gets its turn between two.
BATCH_CALLS = 256
BATCH_BYTES = 16 * 2**20


# How a CPU can copy: all ways but that of a GPU's threads.
CPU_COPIES: tuple[Copy, ...] = tuple(copy for copy in get_args(Copy) if copy != "kernel")


class Copier(Protocol):
    def submit(
        self,
        queue: CopyQueue,
        direction: Direction,
        stats: TransferStats,
        batches: Sequence[Sequence[BlockRun]],
    ) -> Transfer:
        """Lets the queue's threads copy them. Called on the thread that runs the model."""
        ...


def batches_of(
    runs: Sequence[BlockRun], shape: BlockShape, copy: Copy
) -> Sequence[Sequence[BlockRun]]:
    """Returns batches of bounded size, except that a call of `merged` is never cut, and that
    `kernel` makes no batches."""
    if copy == "kernel":
        return [runs]
    if copy == "batched":
        return list(_packed(runs, blocks_per_batch(shape)))
    pieces = list(_single_blocks(runs)) if copy == "per_block" else runs
    return list(_grouped(pieces, shape))


def stats_of(batches: Sequence[Sequence[BlockRun]], shape: BlockShape, copy: Copy) -> TransferStats:
    num_pieces = sum(len(batch) for batch in batches)
    num_blocks = sum(run.num_blocks for batch in batches for run in batch)
    is_one_a_batch = copy in ("batched", "kernel")
    return TransferStats(
        num_copies=len(batches) if is_one_a_batch else num_pieces * shape.num_parts,
        num_bytes=num_blocks * shape.num_bytes,
    )


def blocks_per_batch(shape: BlockShape) -> int:
    return max(1, BATCH_BYTES // shape.num_bytes)


class CpuCopier:
    """Calls are assignments between NumPy views: a memcpy with 1 µs around it, where
    `Tensor.copy_` has 10 and starts threads of its own. Both release the GIL while they copy."""

    def __init__(self, device_pool: KvPool, host_pool: KvPool, copy: Copy) -> None:
        self._copy = copy
        self._tensors = ends_of(device_pool.by_part, host_pool.by_part)
        self._bytes = ends_of(_parts(device_pool), _parts(host_pool))

    def submit(
        self,
        queue: CopyQueue,
        direction: Direction,
        stats: TransferStats,
        batches: Sequence[Sequence[BlockRun]],
    ) -> Transfer:
        return queue.submit(direction, stats, self._jobs(direction, batches))

    def _jobs(
        self, direction: Direction, batches: Sequence[Sequence[BlockRun]]
    ) -> Sequence[Callable[[], None]]:
        """Returns a job for each batch, which returns when the batch is copied; for any thread, in
        any order."""
        if self._copy == "batched":
            return [partial(copy_as_one, *self._tensors[direction], runs) for runs in batches]
        return [partial(_copy_parts, *self._bytes[direction], runs) for runs in batches]


def copy_as_one(source: Tensor, target: Tensor, runs: Sequence[BlockRun]) -> None:
    """Copies all runs and parts of CPU tensors [parts, blocks, values] in one call.

    Twice as fast as a gather and a scatter, which move everything twice.
    """
    torch._foreach_copy_(
        [target[:, run.target : run.target + run.num_blocks] for run in runs],
        [source[:, run.source : run.source + run.num_blocks] for run in runs],
    )


def _copy_parts(source: Bytes, target: Bytes, runs: Sequence[BlockRun]) -> None:
    for run in runs:
        source_stop, target_stop = run.source + run.num_blocks, run.target + run.num_blocks
        for from_blocks, to_blocks in zip(source, target, strict=True):
            to_blocks[run.target : target_stop] = from_blocks[run.source : source_stop]


def _parts(pool: KvPool) -> Bytes:
    return list(pool.by_part.view(torch.uint8).numpy())


def ends_of(device: T, host: T) -> dict[Direction, tuple[T, T]]:
    """Returns source and target of each direction."""
    return {Direction.SWAP_OUT: (device, host), Direction.SWAP_IN: (host, device)}


def _single_blocks(runs: Sequence[BlockRun]) -> Iterator[BlockRun]:
    for run in runs:
        if run.num_blocks == 1:
            yield run
        else:
            yield from (_piece(run, offset, 1) for offset in range(run.num_blocks))


def _grouped(pieces: Sequence[BlockRun], shape: BlockShape) -> Iterator[list[BlockRun]]:
    max_pieces = max(1, BATCH_CALLS // shape.num_parts)
    max_blocks = blocks_per_batch(shape)
    batch: list[BlockRun] = []
    room = max_blocks
    for piece in pieces:
        if batch and (piece.num_blocks > room or len(batch) == max_pieces):
            yield batch
            batch, room = [], max_blocks
        batch.append(piece)
        room -= piece.num_blocks
    if batch:
        yield batch


def _packed(runs: Sequence[BlockRun], max_blocks: int) -> Iterator[list[BlockRun]]:
    """Yields batches of exactly `max_blocks` blocks but for the last; runs are cut where one is
    full."""
    batch: list[BlockRun] = []
    room = max_blocks
    for run in runs:
        offset = 0
        while offset < run.num_blocks:
            taken = min(room, run.num_blocks - offset)
            batch.append(run if taken == run.num_blocks else _piece(run, offset, taken))
            offset += taken
            room -= taken
            if room == 0:
                yield batch
                batch, room = [], max_blocks
    if batch:
        yield batch


def _piece(run: BlockRun, offset: int, num_blocks: int) -> BlockRun:
    return BlockRun(source=run.source + offset, target=run.target + offset, num_blocks=num_blocks)
