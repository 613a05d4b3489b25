"""The copies of a CUDA device: pinned host memory, one stream each way, and events.

A transfer is handed to the GPU by one call without Python's lock, on a copy thread where there is
one, and is over when its event has come; nobody waits for anything in between. How it is handed
over is what `copy` says:

    per_block, merged   a cudaMemcpyAsync for each piece, from a loop in C
    batched             one cudaMemcpyBatchAsync for each BATCH_BYTES of blocks, a descriptor for
                        each piece, as the simulator counts and times it
    kernel              one launch of `copy_kernels`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from engines.core.device import BlockRun, Direction, Transfer, TransferStats
from engines.core.settings import Copy
from engines.embedded.devices.copies import ends_of
from engines.embedded.devices.copy_queue import CopyQueue
from engines.embedded.devices.event_transfer import EventTransfer, Marks
from engines.embedded.devices.kv_pool import KvPool
from engines.embedded.devices.native_copies import (
    BatchCall,
    CopyLoop,
    address_of,
    check,
    cuda_runtime,
    pieces_of,
)
from engines.errors import EngineInputError

Batches = Sequence[Sequence[BlockRun]]
Stream = Any  # of torch.cuda: no types
KINDS = {Direction.SWAP_IN: 1, Direction.SWAP_OUT: 2}  # cudaMemcpyHostToDevice, …DeviceToHost


class CudaCopier:
    """Implements `copies.Copier`. The host pool has to be pinned."""

    def __init__(self, device_pool: KvPool, host_pool: KvPool, copy: Copy) -> None:
        """Raises EngineInputError: this machine can not copy so."""
        self._device = device_pool.by_part.device
        self._ends = ends_of(device_pool.by_part, host_pool.by_part)
        self._streams = {direction: _new_stream(self._device) for direction in Direction}
        self._clock = _new_stream(self._device)  # never busy: its events have come at once
        self._enqueue = self._way(copy)

    def submit(
        self, queue: CopyQueue, direction: Direction, stats: TransferStats, batches: Batches
    ) -> Transfer:
        marks = Marks(submitted=_new_event(), began=_new_event(), ended=_new_event())
        marks.submitted.record(self._clock)  # type: ignore[attr-defined]
        # What wrote or read these blocks last may still be queued on the model's stream.
        is_ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        is_ready.record(torch.cuda.current_stream(self._device))
        job = partial(self._run, direction, batches, is_ready, marks)
        return EventTransfer(queue.submit(direction, stats, [job]), marks)

    def _run(self, direction: Direction, batches: Batches, is_ready: Any, marks: Any) -> None:
        """Returns when all is queued."""
        stream = self._streams[direction]
        with torch.cuda.stream(stream):  # and its device, for this thread
            stream.wait_event(is_ready)
            marks.began.record(stream)
            self._enqueue(direction, batches)
            marks.ended.record(stream)

    def _way(self, copy: Copy) -> Callable[[Direction, Batches], None]:
        if copy == "kernel":
            return _by_kernel(self._device, self._ends)
        assert torch.version.cuda is not None, "a CUDA device without CUDA's torch"
        runtime, version = cuda_runtime(torch.version.cuda)
        self._check = partial(check, runtime=runtime)
        if copy == "batched":
            return partial(self._by_batch_calls, BatchCall(runtime, version))
        loop = CopyLoop(
            copy=address_of(runtime.cudaMemcpyAsync),
            record=address_of(runtime.cudaEventRecord),
            wait=address_of(runtime.cudaEventSynchronize),
        )
        events = {direction: _burst_events(self._streams[direction]) for direction in Direction}
        return partial(self._by_loop, loop, events)

    def _by_loop(self, loop: CopyLoop, events: Any, direction: Direction, batches: Batches) -> None:
        pieces = pieces_of(*self._ends[direction], [run for batch in batches for run in batch])
        stream = self._streams[direction].cuda_stream
        first, second = (event.cuda_event for event in events[direction])
        error = loop(pieces, kind=KINDS[direction], stream=stream, events=(first, second))
        self._check(error)

    def _by_batch_calls(self, call: BatchCall, direction: Direction, batches: Batches) -> None:
        stream = self._streams[direction].cuda_stream
        for batch in batches:
            pieces = pieces_of(*self._ends[direction], batch)
            self._check(call(pieces, stream=stream))


def _by_kernel(
    device: torch.device, ends: dict[Direction, tuple[Tensor, Tensor]]
) -> Callable[[Direction, Batches], None]:
    try:
        # Brings Triton along.
        from engines.embedded.devices.kernel_copies import (  # noqa: PLC0415
            blocks_of,
            move_by_kernel,
        )
    except ImportError as error:
        raise EngineInputError(
            f"copy: kernel needs Triton ({error}); install it, or take copy: batched"
        ) from None

    def enqueue(direction: Direction, batches: Batches) -> None:
        blocks = blocks_of([run for batch in batches for run in batch])
        move_by_kernel(*ends[direction], blocks.pin_memory().to(device, non_blocking=True))

    return enqueue


def _burst_events(stream: Stream) -> tuple[Any, Any]:
    """Returns events that exist: torch makes one when it is first recorded."""
    events = torch.cuda.Event(blocking=True), torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    for event in events:
        event.record(stream)
    return events


def _new_stream(device: torch.device) -> Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _new_event() -> Any:
    # Waiting for it sleeps, where the default spins.
    return torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
