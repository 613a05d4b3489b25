"""Decode steps that were recorded once and are replayed: on CUDA one launch, where a step of the
model otherwise is hundreds.

A graph has fixed addresses and shapes, so there is one for each of a few batch sizes; a batch is
filled up to the next of them with rows that have no sequence: their attention is 0, and what they
write goes to a block that nobody has. All inputs come by one copy, and the largest logit is found
inside, so that one step is a copy, a launch, and the tokens back.

What is recorded and replayed is one function of the inputs' buffer. How, is an argument: `rerun`
calls the function again, on any device; `cuda_graph` has CUDA record its launches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engines.core.device import SequenceChunk
from engines.embedded.devices.attention_plan import slots_of
from engines.embedded.devices.kernel_attention import HeadShape, KernelAttention
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.step_inputs import StepInputs

MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class Decoded:
    tokens: Tensor  # [num_rows], of each row the one with the largest logit
    logits: Tensor  # [num_rows, vocab]


Function = Callable[[], Decoded]
Record = Callable[[Function], Function]  # what it gives does the same again, on the same addresses


class DecodeGraphs:
    def __init__(
        self,
        decoder: Decoder,
        kv: Tensor,
        shape: HeadShape,
        *,
        block_stride: int,
        spare_block: int,
        max_rows: int,
        max_blocks: int,
        record: Record,
    ) -> None:
        """kv: `KvPool.by_layer`, in which nobody has the spare block. `max_blocks`: of one
        sequence."""
        self._decoder = decoder
        self._kv = kv
        self._shape = shape
        self._block_stride = block_stride
        self._spare_slot = spare_block * block_stride
        self._max_blocks = max_blocks
        self._record = record
        self._sizes = batch_sizes(max_rows)
        num_values = self._sizes[-1] * (5 + max_blocks)
        self._inputs = StepInputs(decoder.device, num_values)
        self._graphs: dict[int, Function] = {}

    def record_all(self) -> None:
        """Records all sizes before anybody waits; the largest first, whose memory the others then
        share."""
        for size in reversed(self._sizes):
            self._graph(size)

    def can_run(self, chunks: Sequence[SequenceChunk]) -> bool:
        """Whether each chunk is one token that samples, and all of them fit."""
        if len(chunks) > self._sizes[-1]:
            return False
        longest = self._max_blocks * self._shape.block_size
        return all(
            each.sampling is not None and len(each.token_ids) == 1 and each.start < longest
            for each in chunks
        )

    def run(self, chunks: Sequence[SequenceChunk]) -> Decoded:
        """Returns one row for each chunk; valid until the next run."""
        size = next(size for size in self._sizes if size >= len(chunks))
        graph = self._graph(size)
        self._fill(chunks, size)
        decoded = graph()
        return Decoded(decoded.tokens[: len(chunks)], decoded.logits[: len(chunks)])

    def _graph(self, size: int) -> Function:
        if size not in self._graphs:
            self._fill([], size)  # recording runs it: on nobody's rows
            self._graphs[size] = self._record(self._step(size))
        return self._graphs[size]

    def _fill(self, chunks: Sequence[SequenceChunk], size: int) -> None:
        shape, padding = self._shape, [0] * (size - len(chunks))
        slots = [slots_of(each, shape.block_size, self._block_stride)[0] for each in chunks]
        starts: list[int] = []
        tables: list[int] = []
        for chunk in chunks:
            starts.append(len(tables))
            tables += chunk.block_table[: chunk.start // shape.block_size + 1]
        self._inputs.fill(
            (
                [each.token_ids[0] for each in chunks] + padding,
                [each.start for each in chunks] + padding,
                slots + [self._spare_slot] * len(padding),
                [each.start + 1 for each in chunks] + padding,
                starts + padding,
                tables,
            )
        )

    def _step(self, size: int) -> Function:
        """Computes the step over the buffer, whatever it holds; it sees no value of one batch."""
        num_tables = self._inputs.num_values - 5 * size
        columns = self._inputs.views([size] * 5 + [num_tables])
        token_ids, positions, slots, lengths, starts, tables = columns
        attention = KernelAttention(
            shape=self._shape,
            slots=slots,
            lengths=lengths,
            starts=starts,
            tiles=tables[:0],
            tables=tables,
        )

        def step() -> Decoded:
            logits = self._decoder.forward(token_ids, positions, attention, self._kv, None)
            return Decoded(logits.argmax(dim=-1), logits)

        return step


def batch_sizes(max_rows: int) -> tuple[int, ...]:
    """Returns 1, 2, 4, 8 … and `max_rows`, of which no more than MAX_ROWS."""
    largest = min(max_rows, MAX_ROWS)
    powers = [1 << exponent for exponent in range(largest.bit_length())]
    return tuple(sorted({*powers, largest}))


def rerun(function: Function) -> Function:
    """What was recorded is the function itself."""
    function()
    return function


class CudaGraphs:
    """`Record` on CUDA: one pool of memory for all graphs, which are never replayed side by side.

    To be used by the thread that will replay them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, function: Function) -> Function:
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            function()  # what is set up or compiled on first use may not be recorded
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Thread-local: that copy threads go on meanwhile is no error of the recording.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
        ):
            decoded = function()

        def replay() -> Decoded:
            graph.replay()
            return decoded

        return replay
