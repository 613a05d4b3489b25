"""The real machine behind the engine core: a decoder and two pools of KV blocks.

`kv_pool` says how blocks lie, `copies` and `cuda_copies` how they are moved, `copy_queue` when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

from engines.core.device import Batch, BlockRun, Direction, SequenceChunk, Transfer
from engines.core.settings import Copy, Layout
from engines.embedded.devices.attention_plan import plan_attention
from engines.embedded.devices.copies import Copier, CpuCopier, batches_of, stats_of
from engines.embedded.devices.copy_queue import CopyQueue
from engines.embedded.devices.cuda_copies import CudaCopier
from engines.embedded.devices.kv_pool import KvPool, allocate_pool, block_shape
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.sampling import sample


class TorchDevice:
    """Implements `engines.core.device.Device` on the CPU or on CUDA."""

    def __init__(
        self,
        decoder: Decoder,
        *,
        block_size: int,
        num_device_blocks: int,
        num_host_blocks: int,
        copy: Copy,
        layout: Layout = "per_layer",
        num_copy_threads: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The decoder's torch device is this one's. 0 copy threads: transfers are done on return.

        Raises EngineInputError: pools do not fit.
        """
        self.block_size = block_size
        self.num_device_blocks = num_device_blocks
        self.num_host_blocks = num_host_blocks
        self._copy_mode = copy
        self._device = decoder.device
        self._decoder = decoder
        self._shape = block_shape(
            decoder.config, decoder.dtype, block_size=block_size, layout=layout
        )
        is_cuda = self._device.type == "cuda"
        host = torch.device("cpu")
        self._device_pool = allocate_pool(self._shape, num_device_blocks, self._device)
        self._host_pool = allocate_pool(self._shape, num_host_blocks, host, pin_memory=is_cuda)
        self._kv = self._device_pool.by_layer
        self._copier = _copier(self._device_pool, self._host_pool, copy, num_copy_threads)
        self._queue = single_core_queue(num_copy_threads, clock)

    @property
    def bytes_per_block(self) -> int:
        return self._shape.num_bytes

    def execute(self, batch: Batch) -> list[int | None]:
        """See `Device.execute`."""
        chunks = batch.chunks
        assert chunks, "an empty batch was executed"
        plan = plan_attention(
            chunks,
            self.block_size,
            block_stride=self._shape.stride_tokens,
            device=self._device,
            dtype=self._decoder.dtype,
        )
        rows = [chunks[index] for index in plan.order]
        last_rows = dict(zip(plan.order, _last_rows(rows), strict=True))
        sampling = [index for index, chunk in enumerate(chunks) if chunk.sampling is not None]
        logits = self._decoder.forward(
            self._indices([token for chunk in rows for token in chunk.token_ids]),
            self._indices([position for chunk in rows for position in _positions(chunk)]),
            plan,
            self._kv,
            self._indices([last_rows[index] for index in sampling]),
        )
        params = [chunk.sampling for chunk in chunks if chunk.sampling is not None]
        tokens = sample(logits, params, [chunks[index].output_index for index in sampling])
        result: list[int | None] = [None] * len(chunks)
        for index, token in zip(sampling, tokens, strict=True):
            result[index] = token
        return result

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> Transfer:
        """See `Device.transfer`; what `num_copies` counts is in `copies`."""
        source, target = self._device_pool, self._host_pool
        if direction is Direction.SWAP_IN:
            source, target = target, source
        _assert_within(runs, source.num_blocks, target.num_blocks)
        batches = batches_of(runs, self._shape, self._copy_mode)
        stats = stats_of(batches, self._shape, self._copy_mode)
        return self._queue.submit(direction, stats, self._copier.jobs(direction, batches))

    def close(self) -> None:
        """See `Device.close`."""
        self._queue.close()

    def block_content(self, pool: Literal["device", "host"], block: int) -> Tensor:
        """The block itself, not a copy: [layers, K | V, block_size, num_kv_heads, head_dim]."""
        return (self._device_pool if pool == "device" else self._host_pool).by_layer[:, :, block]

    def _indices(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._device)


def _copier(device_pool: KvPool, host_pool: KvPool, copy: Copy, num_threads: int) -> Copier:
    if device_pool.by_part.device.type == "cpu":
        return CpuCopier(device_pool, host_pool, copy)
    return CudaCopier(device_pool, host_pool, copy, num_buffers=max(1, num_threads))


def single_core_queue(num_threads: int, clock: Callable[[], float]) -> CopyQueue:
    """Each thread keeps to one core: teams of helpers would take the others from the model."""
    num_compute_threads = torch.get_num_threads()
    queue = CopyQueue(num_threads, clock=clock, set_up_thread=_keep_to_one_core)
    # What a thread sets holds for itself and for all that start later.
    torch.set_num_threads(num_compute_threads)
    return queue


def _keep_to_one_core() -> None:
    torch.get_num_threads()  # takes over the others' number, once, and not again after this
    torch.set_num_threads(1)


def _positions(chunk: SequenceChunk) -> range:
    return range(chunk.start, chunk.start + len(chunk.token_ids))


def _last_rows(chunks: Sequence[SequenceChunk]) -> list[int]:
    """The row of the last token of each, where their rows lie one after the other."""
    return [stop - 1 for stop in accumulate(len(chunk.token_ids) for chunk in chunks)]


def _assert_within(
    runs: Sequence[BlockRun], num_source_blocks: int, num_target_blocks: int
) -> None:
    for run in runs:
        num_blocks = run.num_blocks
        assert num_blocks > 0, f"{run} is empty"
        assert run.source + num_blocks <= num_source_blocks, (
            f"{run} reads past {num_source_blocks} blocks"
        )
        assert run.target + num_blocks <= num_target_blocks, (
            f"{run} writes past {num_target_blocks} blocks"
        )
