"""A real device at the pace of a modelled one: real tokens, real copies, modelled durations.

Both are asked for the same. The real one computes and copies, which takes no modelled time; the
modelled one then lets its clock pass, which sleeps for what is left of the step or of the copy.
Nothing is done before both are: what really takes longer than modelled is late, and the clock is
told.
"""

from __future__ import annotations

from collections.abc import Sequence

from engines.core.device import (
    Batch,
    BlockRun,
    Device,
    Direction,
    Transfer,
    TransferStats,
)
from engines.simulated.paced_engine import PacedClock


class PacedTransfer:
    """Implements `engines.core.device.Transfer`; its numbers are the modelled copy's."""

    def __init__(self, copies: Transfer, modelled: Transfer, clock: PacedClock) -> None:
        self._copies = copies
        self._modelled = modelled
        self._clock = clock
        self._due_at: float | None = None  # when the real copies were first seen to be late

    @property
    def stats(self) -> TransferStats:
        return self._modelled.stats

    @property
    def duration_s(self) -> float:
        return self._modelled.duration_s

    @property
    def copying_s(self) -> float:
        return self._modelled.copying_s

    def is_done(self) -> bool:
        is_due, is_copied = self._modelled.is_done(), self._copies.is_done()
        if is_due and not is_copied and self._due_at is None:
            self._due_at = self._clock.now()
        if self._due_at is not None:
            self._clock.note_missed(self._clock.now() - self._due_at)
        return is_due and is_copied

    def wait(self) -> None:
        self._copies.wait()
        self._modelled.wait()


class PacedDevice:
    """Implements `engines.core.device.Device` around a real one; the pools are equal."""

    def __init__(self, device: Device, modelled: Device, clock: PacedClock) -> None:
        """`modelled` lets `clock` pass."""
        self.block_size = device.block_size
        self.num_device_blocks = device.num_device_blocks
        self.num_host_blocks = device.num_host_blocks
        self._device = device
        self._modelled = modelled
        self._clock = clock

    def execute(self, batch: Batch) -> list[int | None]:
        """Returns the real device's tokens, as `Device.execute` says, when the modelled step has
        ended."""
        token_ids = self._device.execute(batch)
        self._modelled.execute(batch)
        return token_ids

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> Transfer:
        """Queues copies, as `Device.transfer` says."""
        copies = self._device.transfer(direction, runs)
        return PacedTransfer(copies, self._modelled.transfer(direction, runs), self._clock)

    def close(self) -> None:
        self._device.close()
        self._modelled.close()
