"""A memory device whose transfers take (virtual) time, and which catches every use of a block
that a transfer still owns.

A transfer lasts num_copies × seconds_per_copy + num_bytes / bandwidth (a block counts as one
byte), after the earlier ones of its direction. Its blocks' content moves when it completes, not
before. Time passes in `execute` and in `wait` only, or when a test moves `now`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from engines.core.device import (
    Batch,
    BlockRun,
    Direction,
    TransferError,
    TransferStats,
)
from tests.engines.core.memory_device import MemoryDevice, stats_of

Block = tuple[Literal["device", "host"], int]
BOTH_WAYS = (Direction.SWAP_OUT, Direction.SWAP_IN)


class AsyncTransfer:
    def __init__(
        self,
        device: AsyncMemoryDevice,
        direction: Direction,
        runs: Sequence[BlockRun],
        *,
        begins_at: float,
        ends_at: float,
    ) -> None:
        self.direction = direction
        self.runs = tuple(runs)
        self.stats: TransferStats = stats_of(runs)
        self.submitted_at = device.now
        self.begins_at = begins_at
        self.ends_at = ends_at
        self.is_moved = False
        self._device = device

    @property
    def duration_s(self) -> float:
        assert self.is_moved, "asked for the duration of an unfinished transfer"
        return self.ends_at - self.submitted_at

    @property
    def copying_s(self) -> float:
        assert self.is_moved, "asked for the duration of an unfinished transfer"
        return self.ends_at - self.begins_at

    def is_done(self) -> bool:
        self._device.look()
        if self.is_moved:
            self._device.release(self)
        return self.is_moved

    def wait(self) -> None:
        self._device.now = max(self._device.now, self.ends_at)
        assert self.is_done()


class AsyncMemoryDevice(MemoryDevice):
    def __init__(
        self,
        *,
        block_size: int,
        num_device_blocks: int,
        num_host_blocks: int,
        step_s: float = 0.01,
        seconds_per_copy: float = 0.001,
        bandwidth_bytes_per_s: float = 1000.0,
        poisons: Collection[Direction] = BOTH_WAYS,
    ) -> None:
        """`poisons`: the directions whose source blocks nobody may read again once they moved;
        leave out SWAP_IN where host copies stay valid."""
        super().__init__(
            block_size=block_size,
            num_device_blocks=num_device_blocks,
            num_host_blocks=num_host_blocks,
            step_s=step_s,
        )
        self.transfers: list[AsyncTransfer] = []  # all ever submitted
        self.fault: Exception | None = None  # set it: the copying has failed
        self._seconds_per_copy = seconds_per_copy
        self._bandwidth = bandwidth_bytes_per_s
        self._poisons = frozenset(poisons)
        self._queues = {direction: deque[AsyncTransfer]() for direction in BOTH_WAYS}  # unmoved
        self._owned: dict[Block, AsyncTransfer] = {}
        self._free_at = dict.fromkeys(BOTH_WAYS, 0.0)

    def execute(self, batch: Batch) -> list[int | None]:
        self.look()
        for chunk in batch.chunks:
            self._assert_free(("device", block) for block in chunk.block_table)
        return super().execute(batch)

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> AsyncTransfer:  # type: ignore[override]
        self.look()
        assert runs, "an empty transfer was asked for"
        blocks = _blocks_of(direction, runs)
        assert len(blocks) == len(set(blocks)), f"runs overlap: {runs}"
        self._assert_free(blocks)
        stats = stats_of(runs)
        begins_at = max(self.now, self._free_at[direction])
        copying_s = stats.num_copies * self._seconds_per_copy + stats.num_bytes / self._bandwidth
        transfer = AsyncTransfer(
            self, direction, runs, begins_at=begins_at, ends_at=begins_at + copying_s
        )
        self._free_at[direction] = transfer.ends_at
        self._queues[direction].append(transfer)
        self._owned |= dict.fromkeys(blocks, transfer)
        self.transfers.append(transfer)
        return transfer

    @property
    def num_unfinished(self) -> int:
        self.look()
        return sum(map(len, self._queues.values()))

    def look(self) -> None:
        """Move the content of what is complete by now. Raises TransferError if there is a fault."""
        if self.fault is not None:
            raise TransferError(f"a copy failed: {self.fault!r}") from self.fault
        for direction, queue in self._queues.items():
            while queue and queue[0].ends_at <= self.now:
                transfer = queue.popleft()
                is_poisoned = direction in self._poisons
                self._move(direction, transfer.runs, poisons_source=is_poisoned)
                transfer.is_moved = True

    def release(self, seen: AsyncTransfer) -> None:
        """It was seen done, and so were the earlier ones of its direction."""
        self._owned = {
            block: owner
            for block, owner in self._owned.items()
            if owner.direction is not seen.direction or owner.ends_at > seen.ends_at
        }

    def _assert_free(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            owner = self._owned.get(block)
            assert owner is None, (
                f"{block[0]} block {block[1]} used at {self.now:.4f} while a {owner.direction}"
                f" ({owner.begins_at:.4f} to {owner.ends_at:.4f}) was not seen done"
            )


def _blocks_of(direction: Direction, runs: Sequence[BlockRun]) -> list[Block]:
    out = direction is Direction.SWAP_OUT
    blocks: list[Block] = []
    for run in runs:
        device, host = (run.source, run.target) if out else (run.target, run.source)
        blocks += [("device", device + offset) for offset in range(run.num_blocks)]
        blocks += [("host", host + offset) for offset in range(run.num_blocks)]
    return blocks
