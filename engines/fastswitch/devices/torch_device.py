"""The real machine behind the engine core: a decoder and two pools of KV blocks.

Layout `per_layer`: a block's K and V of one layer lie apart from its other layers', so moving one
block takes 2 × layers copies. The pools are allocated here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from engines.api import EngineInputError
from engines.fastswitch.device import (
    Batch,
    BlockRun,
    Direction,
    SequenceChunk,
    Transfer,
    TransferStats,
)
from engines.fastswitch.devices.attention import plan_attention
from engines.fastswitch.devices.model import Decoder
from engines.fastswitch.devices.model_config import ModelConfig
from engines.fastswitch.devices.sampling import sample
from engines.fastswitch.settings import Copy


@dataclass(slots=True, kw_only=True)
class FinishedTransfer:
    stats: TransferStats

    def is_done(self) -> bool:
        return True

    def wait(self) -> None:
        return


@dataclass(slots=True, kw_only=True)
class StreamTransfer:
    """Copies queued on the CUDA copy stream, up to an event."""

    stats: TransferStats
    event: Any  # torch.cuda.Event, which has no types

    def is_done(self) -> bool:
        return bool(self.event.query())

    def wait(self) -> None:
        self.event.synchronize()


class TorchDevice:
    """Implements `engines.fastswitch.device.Device` on the CPU or on CUDA."""

    def __init__(
        self,
        decoder: Decoder,
        *,
        block_size: int,
        num_device_blocks: int,
        num_host_blocks: int,
        copy: Copy,
    ) -> None:
        """The decoder's torch device is this one's. Raises EngineInputError: pools do not fit."""
        self.block_size = block_size
        self.num_device_blocks = num_device_blocks
        self.num_host_blocks = num_host_blocks
        self._copy_mode = copy
        self._device = decoder.device
        self._decoder = decoder
        is_cuda = self._device.type == "cuda"
        host = torch.device("cpu")
        self._device_pool = self._allocate(num_device_blocks, self._device, pin_memory=False)
        self._host_pool = self._allocate(num_host_blocks, host, pin_memory=is_cuda)
        self._caches = [(layer[0], layer[1]) for layer in self._device_pool]
        self._copy_stream = _new_stream(self._device) if is_cuda else None

    @property
    def bytes_per_block(self) -> int:
        return bytes_per_block(self._decoder.config, self._decoder.dtype, self.block_size)

    def execute(self, batch: Batch) -> list[int | None]:
        """See `Device.execute`."""
        chunks = batch.chunks
        assert chunks, "an empty batch was executed"
        sampling = [index for index, chunk in enumerate(chunks) if chunk.sampling is not None]
        logits = self._decoder.forward(
            self._indices([token for chunk in chunks for token in chunk.token_ids]),
            self._indices([position for chunk in chunks for position in _positions(chunk)]),
            plan_attention(chunks, self.block_size, device=self._device, dtype=self._decoder.dtype),
            self._caches,
            self._indices(_last_rows(chunks, sampling)),
        )
        params = [chunk.sampling for chunk in chunks if chunk.sampling is not None]
        tokens = sample(logits, params, [chunks[index].output_index for index in sampling])
        result: list[int | None] = [None] * len(chunks)
        for index, token in zip(sampling, tokens, strict=True):
            result[index] = token
        return result

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> Transfer:
        """On the CPU the copies are done on return; on CUDA they are queued."""
        if direction is Direction.SWAP_OUT:
            source, target = self._device_pool, self._host_pool
        else:
            source, target = self._host_pool, self._device_pool
        pieces = _single_blocks(runs) if self._copy_mode == "per_block" else runs
        stats = TransferStats(
            num_copies=len(pieces) * 2 * self._decoder.config.num_layers,
            num_bytes=sum(run.num_blocks for run in runs) * self.bytes_per_block,
        )
        if self._copy_stream is None:
            _copy_runs(source, target, pieces)
            return FinishedTransfer(stats=stats)
        # What wrote or read these blocks last may still be queued on the compute stream.
        self._copy_stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._copy_stream):
            _copy_runs(source, target, pieces)
        return StreamTransfer(stats=stats, event=self._copy_stream.record_event())

    def block_content(self, pool: Literal["device", "host"], block: int) -> Tensor:
        """The block itself, not a copy: [layers, K | V, block_size, num_kv_heads, head_dim]."""
        tensor = self._device_pool if pool == "device" else self._host_pool
        return tensor[:, :, block]

    def _allocate(self, num_blocks: int, device: torch.device, *, pin_memory: bool) -> Tensor:
        """[layers, K | V, num_blocks, block_size, num_kv_heads, head_dim].

        Zeroed, because padding reads block 0 and a NaN there would survive its mask.
        """
        config = self._decoder.config
        shape = (
            *(config.num_layers, 2, num_blocks),
            *(self.block_size, config.num_kv_heads, config.head_dim),
        )
        try:
            return torch.zeros(
                shape, dtype=self._decoder.dtype, device=device, pin_memory=pin_memory
            )
        except RuntimeError as error:
            size_gib = num_blocks * self.bytes_per_block / 2**30
            raise EngineInputError(
                f"KV pool of {num_blocks} blocks needs {size_gib:.1f} GiB on {device}, which was"
                f" refused ({str(error).splitlines()[0]}); lower kv_tokens or swap_tokens"
            ) from None

    def _indices(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._device)


def bytes_per_block(config: ModelConfig, dtype: torch.dtype, block_size: int) -> int:
    """K and V of all layers."""
    num_values = 2 * config.num_layers * block_size * config.num_kv_heads * config.head_dim
    return num_values * dtype.itemsize


def _new_stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _positions(chunk: SequenceChunk) -> range:
    return range(chunk.start, chunk.start + len(chunk.token_ids))


def _last_rows(chunks: Sequence[SequenceChunk], wanted: Sequence[int]) -> list[int]:
    """The row of the last token of each wanted chunk."""
    stops = list(accumulate(len(chunk.token_ids) for chunk in chunks))
    return [stops[index] - 1 for index in wanted]


def _single_blocks(runs: Sequence[BlockRun]) -> list[BlockRun]:
    return [
        BlockRun(source=run.source + offset, target=run.target + offset, num_blocks=1)
        for run in runs
        for offset in range(run.num_blocks)
    ]


def _copy_runs(source: Tensor, target: Tensor, runs: Sequence[BlockRun]) -> None:
    """One copy call per (run, layer, K | V)."""
    tensors = list(zip(source.flatten(0, 1), target.flatten(0, 1), strict=True))
    for run in runs:
        source_stop, target_stop = run.source + run.num_blocks, run.target + run.num_blocks
        assert source_stop <= source.shape[2], f"{run} reads past {source.shape[2]} blocks"
        assert target_stop <= target.shape[2], f"{run} writes past {target.shape[2]} blocks"
        for from_blocks, to_blocks in tensors:
            piece = from_blocks[run.source : source_stop]
            to_blocks[run.target : target_stop].copy_(piece, non_blocking=True)
