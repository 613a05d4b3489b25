"""The copies of a CUDA device: pinned host memory, one stream each way, and events.

A job queues one batch on its direction's stream and sleeps until the batch is through, so a
transfer is done when its jobs have returned, and what runs the model afterwards needs no event.
With copy threads no launch is paid by the thread that runs the model.

`batched`: a kernel gathers the blocks into a staging buffer on the device, one copy takes that to a
pinned one, and the CPU spreads it over the host pool; the same backwards for a swap-in. Each thread
has a pair of buffers, so that with two of them one batch crosses the link while another is spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from engines.core.device import BlockRun, Direction
from engines.core.settings import Copy
from engines.embedded.devices.copies import blocks_per_batch, copy_as_one
from engines.embedded.devices.kv_pool import KvPool

Event = Any  # torch.cuda.Event and Stream have no types
Stream = Any


class CudaCopier:
    """Implements `copies.Copier`. The host pool has to be pinned."""

    def __init__(
        self, device_pool: KvPool, host_pool: KvPool, copy: Copy, *, num_buffers: int
    ) -> None:
        """`num_buffers`: how many jobs may run at once without waiting for each other."""
        self._copy = copy
        self._device_blocks = device_pool.by_part
        self._host_blocks = host_pool.by_part
        self._device = self._device_blocks.device
        self._streams = {direction: _new_stream(self._device) for direction in Direction}
        self._buffers: SimpleQueue[tuple[Tensor, Tensor]] = SimpleQueue()  # on device, pinned
        for _ in range(num_buffers if copy == "batched" else 0):
            self._buffers.put(_staging_buffers(device_pool))

    def jobs(
        self, direction: Direction, batches: Sequence[Sequence[BlockRun]]
    ) -> Sequence[Callable[[], None]]:
        # What wrote or read these blocks last may still be queued on the model's stream.
        is_ready = _new_event()
        is_ready.record(torch.cuda.current_stream(self._device))
        stream = self._streams[direction]
        return [partial(self._run(direction), stream, is_ready, runs) for runs in batches]

    def _run(self, direction: Direction) -> Callable[[Stream, Event, Sequence[BlockRun]], None]:
        is_out = direction is Direction.SWAP_OUT
        if self._copy == "batched":
            return self._gather_out if is_out else self._scatter_in
        source, target = self._device_blocks, self._host_blocks
        if not is_out:
            source, target = target, source
        return partial(_copy_parts, list(zip(source, target, strict=True)))

    def _gather_out(self, stream: Stream, is_ready: Event, runs: Sequence[BlockRun]) -> None:
        with self._staging(runs) as (on_device, pinned):
            with _queued(stream, is_ready):
                blocks = self._indices([_sources(run) for run in runs])
                torch.index_select(self._device_blocks, 1, blocks, out=on_device)
                pinned.copy_(on_device, non_blocking=True)
            copy_as_one(pinned, self._host_blocks, _from_staging(runs))

    def _scatter_in(self, stream: Stream, is_ready: Event, runs: Sequence[BlockRun]) -> None:
        with self._staging(runs) as (on_device, pinned):
            copy_as_one(self._host_blocks, pinned, _to_staging(runs))
            with _queued(stream, is_ready):
                on_device.copy_(pinned, non_blocking=True)
                blocks = self._indices([_targets(run) for run in runs])
                self._device_blocks.index_copy_(1, blocks, on_device)

    @contextmanager
    def _staging(self, runs: Sequence[BlockRun]) -> Iterator[tuple[Tensor, Tensor]]:
        """Buffers of the batch's size, [parts, blocks, values], contiguous."""
        num_parts, _, num_values = self._device_blocks.shape
        shape = (num_parts, sum(run.num_blocks for run in runs), num_values)
        size = shape[0] * shape[1] * shape[2]
        on_device, pinned = buffers = self._buffers.get()
        try:
            yield on_device[:size].view(shape), pinned[:size].view(shape)
        finally:
            self._buffers.put(buffers)

    def _indices(self, ranges: Sequence[range]) -> Tensor:
        blocks = [block for of_run in ranges for block in of_run]
        return torch.tensor(blocks, dtype=torch.int64, device=self._device)


def _copy_parts(
    parts: Sequence[tuple[Tensor, Tensor]],
    stream: Stream,
    is_ready: Event,
    runs: Sequence[BlockRun],
) -> None:
    """`parts`: source and target of each part, [blocks, values]."""
    with _queued(stream, is_ready):
        for run in runs:
            source_stop, target_stop = run.source + run.num_blocks, run.target + run.num_blocks
            for from_blocks, to_blocks in parts:
                piece = from_blocks[run.source : source_stop]
                to_blocks[run.target : target_stop].copy_(piece, non_blocking=True)


@contextmanager
def _queued(stream: Stream, is_ready: Event) -> Iterator[None]:
    """What the body queues goes onto the stream after `is_ready`, and is through on leaving."""
    with torch.cuda.stream(stream):
        stream.wait_event(is_ready)
        yield
        is_through = _new_event()
        is_through.record(stream)
    is_through.synchronize()


def _staging_buffers(device_pool: KvPool) -> tuple[Tensor, Tensor]:
    blocks = device_pool.by_part
    num_values = blocks_per_batch(device_pool.shape) * blocks.shape[0] * blocks.shape[2]
    on_device = torch.empty(num_values, dtype=blocks.dtype, device=blocks.device)
    return on_device, torch.empty(num_values, dtype=blocks.dtype, pin_memory=True)


def _new_stream(device: torch.device) -> Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _new_event() -> Event:
    # Waiting for it sleeps, where the default spins.
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]


def _sources(run: BlockRun) -> range:
    return range(run.source, run.source + run.num_blocks)


def _targets(run: BlockRun) -> range:
    return range(run.target, run.target + run.num_blocks)


def _from_staging(runs: Sequence[BlockRun]) -> list[BlockRun]:
    """The same runs, their sources one after the other from 0."""
    packed, start = [], 0
    for run in runs:
        packed.append(BlockRun(source=start, target=run.target, num_blocks=run.num_blocks))
        start += run.num_blocks
    return packed


def _to_staging(runs: Sequence[BlockRun]) -> list[BlockRun]:
    """The same runs, their targets one after the other from 0."""
    packed, start = [], 0
    for run in runs:
        packed.append(BlockRun(source=run.source, target=start, num_blocks=run.num_blocks))
        start += run.num_blocks
    return packed
