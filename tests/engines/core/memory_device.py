"""A device whose KV cache can be read: it remembers which token stands at which position.

The next token is a digest of the whole context AS FOUND IN THE BLOCKS, so a block lost, swapped
wrongly or overwritten shows as a wrong token. `undisturbed` gives the tokens that must come out.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engines.core.device import Batch, BlockRun, Direction, TransferStats

VOCAB = 5000
POISON = -2


def next_token(context: Sequence[int]) -> int:
    return zlib.crc32(np.asarray(context, dtype=np.int64).tobytes()) % VOCAB


def undisturbed(prompt: Sequence[int], num_tokens: int) -> list[int]:
    context = list(prompt)
    for _ in range(num_tokens):
        context.append(next_token(context))
    return context[len(prompt) :]


def stats_of(runs: Sequence[BlockRun]) -> TransferStats:
    """One copy a run; a block counts as one byte."""
    return TransferStats(num_copies=len(runs), num_bytes=sum(run.num_blocks for run in runs))


class DoneTransfer:
    duration_s = 0.0
    copying_s = 0.0

    def __init__(self, stats: TransferStats) -> None:
        self.stats = stats

    def is_done(self) -> bool:
        return True

    def wait(self) -> None: ...


class MemoryDevice:
    def __init__(
        self, *, block_size: int, num_device_blocks: int, num_host_blocks: int, step_s: float = 0.01
    ) -> None:
        self.block_size = block_size
        self.num_device_blocks = num_device_blocks
        self.num_host_blocks = num_host_blocks
        self.now = 0.0
        self.batches: list[Batch] = []
        self._step_s = step_s
        self._device = np.full((num_device_blocks, block_size), -1)
        self._host = np.full((num_host_blocks, block_size), -1)

    def clock(self) -> float:
        return self.now

    def execute(self, batch: Batch) -> list[int | None]:
        self.now += self._step_s
        # The engine goes on to use the same chunks.
        self.batches.append(Batch(chunks=[replace(chunk) for chunk in batch.chunks]))
        for chunk in batch.chunks:
            for position, token in enumerate(chunk.token_ids, start=chunk.start):
                block = chunk.block_table[position // self.block_size]
                self._device[block, position % self.block_size] = token
        return [
            next_token(self._context(chunk.block_table, chunk.start + len(chunk.token_ids)))
            if chunk.sampling is not None
            else None
            for chunk in batch.chunks
        ]

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> DoneTransfer:
        # A swapped-in block's host copy may stay of use; a swapped-out block's device copy is not.
        self._move(direction, runs, poisons_source=direction is Direction.SWAP_OUT)
        return DoneTransfer(stats_of(runs))

    def close(self) -> None: ...

    def _move(
        self, direction: Direction, runs: Sequence[BlockRun], *, poisons_source: bool
    ) -> None:
        out = direction is Direction.SWAP_OUT
        source, target = (self._device, self._host) if out else (self._host, self._device)
        for run in runs:
            moved = source[run.source : run.source + run.num_blocks]
            assert len(moved) == run.num_blocks
            target[run.target : run.target + run.num_blocks] = moved
            if poisons_source:  # nobody may read it again
                source[run.source : run.source + run.num_blocks] = POISON

    def _context(self, block_table: Sequence[int], num_tokens: int) -> list[int]:
        blocks = list(block_table[: -(-num_tokens // self.block_size)])
        return [int(token) for token in self._device[blocks].reshape(-1)[:num_tokens]]
