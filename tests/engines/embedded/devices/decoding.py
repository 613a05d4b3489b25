"""Small decoders, and one sequence driven through a device as the engine core would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from engines.core.device import Batch, SequenceChunk
from engines.core.sampling_params import SamplingParams
from engines.core.settings import Copy, Layout
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.torch_device import TorchDevice
from engines.embedded.devices.weights import RandomTensors, assemble
from engines.models.model_config import ModelConfig, rope_frequencies

SMALL = ModelConfig(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=96,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    max_positions=256,
    rms_norm_eps=1e-5,
    inverse_frequencies=rope_frequencies(10_000.0, 16),
)


def small_decoder(dtype: torch.dtype = torch.float64, device: str = "cpu") -> Decoder:
    weights = assemble(RandomTensors(SMALL, 0), SMALL, dtype=dtype, device=torch.device(device))
    return Decoder(SMALL, weights)


def device_for(
    decoder: Decoder,
    *,
    num_blocks: int = 64,
    block_size: int = 4,
    copy: Copy = "merged",
    layout: Layout = "per_layer",
    num_copy_threads: int = 0,
    **steps: Any,
) -> TorchDevice:
    """`steps`: by which kernels, see `TorchDevice`."""
    return TorchDevice(
        decoder,
        block_size=block_size,
        num_device_blocks=num_blocks,
        num_host_blocks=num_blocks,
        copy=copy,
        layout=layout,
        num_copy_threads=num_copy_threads,
        **steps,
    )


@dataclass(kw_only=True)
class Sequence:
    """A request with blocks of its own; greedy unless `sampling` says otherwise."""

    token_ids: list[int]
    block_table: list[int]
    sampling: SamplingParams = field(default_factory=lambda: SamplingParams(max_tokens=64))
    num_computed: int = 0
    output: list[int] = field(default_factory=list)

    def chunk(self, num_tokens: int | None = None) -> SequenceChunk:
        """The next tokens without KV; all of them by default."""
        pending = (self.token_ids + self.output)[self.num_computed :]
        taken = pending[:num_tokens]
        return SequenceChunk(
            request_id="r",
            token_ids=taken,
            start=self.num_computed,
            block_table=self.block_table,
            sampling=self.sampling if len(taken) == len(pending) else None,
            output_index=len(self.output),
        )


def step(device: TorchDevice, *parts: tuple[Sequence, int | None]) -> None:
    """One batch; each part is (sequence, how many of its tokens)."""
    chunks = [sequence.chunk(num_tokens) for sequence, num_tokens in parts]
    for (sequence, _), chunk, token in zip(
        parts, chunks, device.execute(Batch(chunks=chunks)), strict=True
    ):
        sequence.num_computed += len(chunk.token_ids)
        assert (token is None) == (chunk.sampling is None)
        if token is not None:
            sequence.output.append(token)


def generate(device: TorchDevice, sequence: Sequence, num_tokens: int) -> list[int]:
    """Alone on the device, the prompt in one piece."""
    while len(sequence.output) < num_tokens:
        step(device, (sequence, None))
    return sequence.output
