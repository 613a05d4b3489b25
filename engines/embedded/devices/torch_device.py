"""The real machine behind the engine core: a decoder and two pools of KV blocks.

`model_steps` computes; `kv_pool` says how blocks lie, `copies` and `cuda_copies` how they are
moved, `copy_queue` when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from engines.core.device import Batch, BlockRun, Direction, Transfer
from engines.core.settings import Copy, Layout
from engines.embedded.devices.copies import Copier, CpuCopier, batches_of, stats_of
from engines.embedded.devices.copy_queue import CopyQueue
from engines.embedded.devices.cuda_copies import CudaCopier
from engines.embedded.devices.kv_pool import KvPool, allocate_pool, block_shape
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.model_steps import AttentionBy, default_attention, model_steps
from engines.embedded.devices.sampling import is_largest, sample
from engines.errors import EngineInputError

if TYPE_CHECKING:
    from engines.embedded.devices.decode_graphs import Record


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
        attention: AttentionBy | None = None,
        max_graph_rows: int = 0,
        record: Record | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The decoder's torch device is this one's. 0 copy threads: the caller copies, or on CUDA
        hands the copies over.
        Batches of up to `max_graph_rows` decodes are replayed as graphs, where `attention` is
        Triton's. `attention` and `record`: see `model_steps`.

        Raises EngineInputError: pools do not fit, or nothing here copies so.
        """
        self.block_size = block_size
        self.num_device_blocks = num_device_blocks
        self.num_host_blocks = num_host_blocks
        self._copy_mode = copy
        self._device = decoder.device
        self._shape = block_shape(
            decoder.config, decoder.dtype, block_size=block_size, layout=layout
        )
        is_cuda = self._device.type == "cuda"
        host = torch.device("cpu")
        self._make_current()
        self.attention = attention or default_attention(self._device)
        self.has_graphs = max_graph_rows > 0 and self.attention == "triton"
        num_blocks = num_device_blocks + self.has_graphs  # one that nobody is given
        self._device_pool = allocate_pool(self._shape, num_blocks, self._device)
        self._host_pool = allocate_pool(self._shape, num_host_blocks, host, pin_memory=is_cuda)
        self._steps = model_steps(
            decoder,
            self._device_pool,
            attention=self.attention,
            max_graph_rows=max_graph_rows,
            record=record,
        )
        self._copier = _copier(self._device_pool, self._host_pool, copy)
        self._queue = single_core_queue(num_copy_threads, clock)

    @property
    def bytes_per_block(self) -> int:
        return self._shape.num_bytes

    def execute(self, batch: Batch) -> list[int | None]:
        """Runs the model, as `Device.execute` says."""
        chunks = batch.chunks
        assert chunks, "an empty batch was executed"
        result = self._steps.run(chunks)
        params = [chunk.sampling for chunk in chunks if chunk.sampling is not None]
        indices = [chunk.output_index for chunk in chunks if chunk.sampling is not None]
        if result.tokens is not None and all(map(is_largest, params, indices)):
            tokens: list[int] = result.tokens.tolist()
        else:
            tokens = sample(result.logits, params, indices)
        if not tokens and self._device.type == "cuda":
            # Nothing else waits for a step without tokens, and its time would be the next one's.
            torch.cuda.current_stream(self._device).synchronize()
        remaining = iter(tokens)
        return [None if chunk.sampling is None else next(remaining) for chunk in chunks]

    def prepare(self) -> None:
        """Compiles and records what would hold up a first request, on the thread that will call
        `execute`: libraries keep what they set up by thread."""
        self._make_current()
        self._steps.prepare()

    def _make_current(self) -> None:
        """Makes this GPU the thread's own: kernels run there, wherever their arguments lie."""
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> Transfer:
        """Queues copies, as `Device.transfer` says; what `num_copies` counts is in `copies`."""
        sizes = self.num_device_blocks, self.num_host_blocks
        _assert_within(runs, *(sizes if direction is Direction.SWAP_OUT else reversed(sizes)))
        batches = batches_of(runs, self._shape, self._copy_mode)
        stats = stats_of(batches, self._shape, self._copy_mode)
        return self._copier.submit(self._queue, direction, stats, batches)

    def close(self) -> None:
        """Finishes what is queued, as `Device.close` says."""
        self._queue.close()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # nothing may read what is let go
        self._host_pool.close()

    def block_content(self, pool: Literal["device", "host"], block: int) -> Tensor:
        """Returns the block itself, not a copy: [layers, K | V, block_size, num_kv_heads,
        head_dim]."""
        return (self._device_pool if pool == "device" else self._host_pool).by_layer[:, :, block]


def _copier(device_pool: KvPool, host_pool: KvPool, copy: Copy) -> Copier:
    if device_pool.by_part.device.type == "cuda":
        return CudaCopier(device_pool, host_pool, copy)
    if copy == "kernel":
        raise EngineInputError(
            "copy: kernel needs torch_device: cuda (a GPU's threads move the blocks), got cpu;"
            " take merged or batched"
        )
    return CpuCopier(device_pool, host_pool, copy)


def single_core_queue(num_threads: int, clock: Callable[[], float]) -> CopyQueue:
    """Returns a queue each of whose threads keeps to one core: teams of helpers would take the
    others from the model."""
    num_compute_threads = torch.get_num_threads()
    queue = CopyQueue(num_threads, clock=clock, set_up_thread=_keep_to_one_core)
    # What a thread sets holds for itself and for all that start later.
    torch.set_num_threads(num_compute_threads)
    return queue


def _keep_to_one_core() -> None:
    torch.get_num_threads()  # takes over the others' number, once, and not again after this
    torch.set_num_threads(1)


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
