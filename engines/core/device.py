"""What the engine core asks of a device: run a batch, move blocks. The seam between the shared
bookkeeping (no torch) and a real or modelled machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from engines.core.sampling_params import SamplingParams


@dataclass(slots=True)
class SequenceChunk:
    """One request's part of a batch: `token_ids` at positions start, start + 1, …

    The engine writes the next step's values into the same object: a device that wants to know them
    after `execute` makes a copy.
    """

    request_id: str
    token_ids: Sequence[int]
    start: int  # = number of tokens whose KV is already in the blocks
    block_table: Sequence[int]  # device block ids, enough for start + len(token_ids) tokens
    sampling: SamplingParams | None  # None: the chunk ends before the last token, nothing to sample
    output_index: int  # how many tokens the request has generated so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Decodes (one token each) first, then prefill chunks."""

    chunks: Sequence[SequenceChunk]

    @property
    def num_tokens(self) -> int:
        return sum(len(chunk.token_ids) for chunk in self.chunks)


class Direction(StrEnum):
    SWAP_OUT = "swap_out"  # device → host
    SWAP_IN = "swap_in"  # host → device


class BlockRun(NamedTuple):  # a tuple: made at a third of a frozen dataclass's cost
    """`num_blocks` neighbours copied as one: source [source, source + n) → target [target, …)."""

    source: int
    target: int
    num_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStats:
    num_copies: int  # copy calls issued; the device says what one of them moves
    num_bytes: int


class TransferError(RuntimeError):
    """Copying has failed: KV may be lost, and the device is broken."""


class Transfer(Protocol):
    """Copies under way. Its source and target blocks belong to it until it has been seen done:
    by `is_done` or `wait` of it or of a later transfer of its direction.

    Both raise TransferError should the copying have failed.
    """

    @property
    def stats(self) -> TransferStats: ...

    @property
    def duration_s(self) -> float:
        """Returns the time from submission to completion, the queue included. Only to be asked once
        done."""
        ...

    @property
    def copying_s(self) -> float:
        """Returns the part of `duration_s` after its turn in the queue came. Only to be asked once
        done."""
        ...

    def is_done(self) -> bool:
        """Returns whether all is copied; never blocks."""
        ...

    def wait(self) -> None: ...


class Device(Protocol):
    """KV cache in two pools of blocks (device, host) and a model that reads and writes the first.

    The step loop calls it from one thread.
    """

    block_size: int  # tokens
    num_device_blocks: int
    num_host_blocks: int

    def execute(self, batch: Batch) -> list[int | None]:
        """Runs the model: writes each chunk's KV into its blocks, and returns one token id per
        chunk that samples, None for the others, in the batch's order."""
        ...

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> Transfer:
        """Queues copies, which read their sources as the last `execute` left them.

        There is at least one run. Runs never overlap, nor touch a block of an unfinished transfer.
        Each direction is a queue: a transfer starts when the earlier ones of its direction are
        done, whatever the other direction does. A device whose copying has failed once is broken:
        this and every unfinished transfer raise TransferError from then on.
        """
        ...

    def close(self) -> None:
        """Finishes what is queued and gives back threads; nothing may be called after it."""
        ...
