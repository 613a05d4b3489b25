"""One step of the model over a batch, by torch's kernels or by our own; the latter also as graphs.

Which of them: our own where Triton is and the device is CUDA, torch's elsewhere. Both give the same
tokens, up to rounding, and each is tested against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from engines.core.device import SequenceChunk
from engines.embedded.devices.attention import PlannedAttention
from engines.embedded.devices.attention_plan import plan_attention
from engines.embedded.devices.kv_pool import KvPool
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.step_inputs import StepInputs

if TYPE_CHECKING:
    from engines.embedded.devices.decode_graphs import DecodeGraphs, Record

AttentionBy = Literal["torch", "triton"]


@dataclass(frozen=True, slots=True)
class StepResult:
    logits: Tensor  # [chunks that sample, vocab], in the batch's order
    tokens: Tensor | None  # of each of them the largest logit's, where that is known already


class ModelSteps(Protocol):
    def run(self, chunks: Sequence[SequenceChunk]) -> StepResult:
        """Computes a batch: K and V into its blocks. The result is valid until the next run."""
        ...

    def prepare(self) -> None:
        """Does what would hold up a first request; on the thread that will run the steps."""
        ...


class PlannedSteps:
    """Implements `ModelSteps` with torch's kernels on any device."""

    def __init__(self, decoder: Decoder, pool: KvPool) -> None:
        # cuDNN's kernel, torch's first choice on Hopper, makes a plan for each new shape, which
        # takes longer than the step; and shapes are new in each step.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self._decoder = decoder
        self._kv = pool.by_layer
        self._shape = pool.shape

    def prepare(self) -> None: ...

    def run(self, chunks: Sequence[SequenceChunk]) -> StepResult:
        plan = plan_attention(
            chunks,
            self._shape.block_size,
            block_stride=self._shape.stride_tokens,
            device=self._decoder.device,
            dtype=self._decoder.dtype,
        )
        rows = [chunks[index] for index in plan.order]
        last_rows = dict(zip(plan.order, _last_rows(rows), strict=True))
        sampling = [index for index, chunk in enumerate(chunks) if chunk.sampling is not None]
        logits = self._decoder.forward(
            self._indices([token for chunk in rows for token in chunk.token_ids]),
            self._indices([position for chunk in rows for position in _positions(chunk)]),
            PlannedAttention(plan),
            self._kv,
            self._indices([last_rows[index] for index in sampling]),
        )
        return StepResult(logits, None)

    def _indices(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._decoder.device)


class KernelSteps:
    """Implements `ModelSteps` with the kernels in `attention_kernels`."""

    def __init__(self, decoder: Decoder, pool: KvPool, graphs: DecodeGraphs | None) -> None:
        """`graphs`: for batches in which all decode; the others are launched kernel by kernel."""
        # Brings Triton along, which is not everywhere.
        from engines.embedded.devices import kernel_attention  # noqa: PLC0415

        self._kernel_step = kernel_attention.kernel_step
        self._shape = kernel_attention.head_shape(decoder.config, pool.shape.block_size)
        self._decoder = decoder
        self._pool = pool
        self._inputs = StepInputs(decoder.device, 4096)
        self._graphs = graphs

    def prepare(self) -> None:
        if self._graphs is not None:
            self._graphs.record_all()

    def run(self, chunks: Sequence[SequenceChunk]) -> StepResult:
        if self._graphs is not None and self._graphs.can_run(chunks):
            decoded = self._graphs.run(chunks)
            return StepResult(decoded.logits, decoded.tokens)
        token_ids, positions, attention, sample_rows = self._kernel_step(
            chunks, self._shape, self._pool.shape.stride_tokens, self._inputs
        )
        kv = self._pool.by_layer
        return StepResult(
            self._decoder.forward(token_ids, positions, attention, kv, sample_rows), None
        )


def model_steps(
    decoder: Decoder,
    pool: KvPool,
    *,
    attention: AttentionBy | None = None,
    max_graph_rows: int = 0,
    record: Record | None = None,
) -> ModelSteps:
    """Returns the way of computing steps that fits. `attention`: None for whatever fits the device.
    With `max_graph_rows` > 0 the pool's last block is the graphs' own; `record` says how they are
    recorded, None: by CUDA."""
    if (attention or default_attention(decoder.device)) == "torch":
        return PlannedSteps(decoder, pool)
    graphs = decode_graphs(decoder, pool, max_graph_rows, record) if max_graph_rows else None
    return KernelSteps(decoder, pool, graphs)


def default_attention(device: torch.device) -> AttentionBy:
    return "triton" if device.type == "cuda" and find_spec("triton") else "torch"


def decode_graphs(
    decoder: Decoder, pool: KvPool, max_rows: int, record: Record | None
) -> DecodeGraphs:
    # Bring Triton along.
    from engines.embedded.devices.decode_graphs import CudaGraphs, DecodeGraphs  # noqa: PLC0415
    from engines.embedded.devices.kernel_attention import head_shape  # noqa: PLC0415

    block_size = pool.shape.block_size
    num_blocks = pool.num_blocks - 1
    return DecodeGraphs(
        decoder,
        pool.by_layer,
        head_shape(decoder.config, block_size),
        block_stride=pool.shape.stride_tokens,
        spare_block=num_blocks,
        max_rows=max_rows,
        max_blocks=min(num_blocks, -(-decoder.config.max_positions // block_size)),
        record=record or CudaGraphs(decoder.device),
    )


def _positions(chunk: SequenceChunk) -> range:
    return range(chunk.start, chunk.start + len(chunk.token_ids))


def _last_rows(chunks: Sequence[SequenceChunk]) -> list[int]:
    """Returns the row of the last token of each, where their rows lie one after the other."""
    return [stop - 1 for stop in accumulate(len(chunk.token_ids) for chunk in chunks)]
