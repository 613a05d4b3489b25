"""A torch device whose copies are made as late as they may be, in virtual time.

A transfer's bytes move when the engine finds it done, never before, and what nobody may read
again is overwritten: a block used too early or too late shows as a wrong token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from engines.core.device import Batch, BlockRun, Direction, Transfer, TransferStats
from engines.embedded.devices.torch_device import TorchDevice

STEP_S = 0.01
HELD_S = 0.015  # a transfer is under way for two steps of the model
POISON = 1e3


class HeldTransfer:
    """Implements `engines.core.device.Transfer`."""

    def __init__(
        self,
        device: HeldDevice,
        direction: Direction,
        runs: Sequence[BlockRun],
        submitted_at: float,
    ) -> None:
        self.direction = direction
        self.runs = runs
        self.ends_at = submitted_at + HELD_S
        self.moved: Transfer | None = None
        self._device = device
        self.duration_s = self.copying_s = HELD_S

    @property
    def stats(self) -> TransferStats:
        return TransferStats(
            num_copies=len(self.runs), num_bytes=sum(run.num_blocks for run in self.runs)
        )

    def is_done(self) -> bool:
        if self.moved is None and self._device.now >= self.ends_at:
            self._device.move_up_to(self)
        return self.moved is not None

    def wait(self) -> None:
        self._device.now = max(self._device.now, self.ends_at)
        assert self.is_done()


class HeldDevice:
    """Implements `engines.core.device.Device` around a torch device."""

    def __init__(self, device: TorchDevice, *, poisons: Collection[Direction]) -> None:
        """`poisons`: the directions whose sources nobody may read again once they moved."""
        self.block_size = device.block_size
        self.num_device_blocks = device.num_device_blocks
        self.num_host_blocks = device.num_host_blocks
        self.now = 0.0
        self._device = device
        self._poisons = frozenset(poisons)
        self._queues = {direction: deque[HeldTransfer]() for direction in Direction}

    def clock(self) -> float:
        return self.now

    def execute(self, batch: Batch) -> list[int | None]:
        self.now += STEP_S
        return self._device.execute(batch)

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> HeldTransfer:
        transfer = HeldTransfer(self, direction, runs, self.now)
        self._queues[direction].append(transfer)
        return transfer

    def close(self) -> None:
        self._device.close()

    def move_up_to(self, last: HeldTransfer) -> None:
        """Its direction is a queue: the earlier ones move first."""
        queue = self._queues[last.direction]
        while last.moved is None:
            first = queue.popleft()
            moved = self._device.transfer(first.direction, first.runs)
            moved.wait()
            first.moved = moved
            if first.direction in self._poisons:
                self._poison(first)

    def _poison(self, transfer: HeldTransfer) -> None:
        is_out = transfer.direction is Direction.SWAP_OUT
        for run in transfer.runs:
            for block in range(run.source, run.source + run.num_blocks):
                self._device.block_content("device" if is_out else "host", block).fill_(POISON)
