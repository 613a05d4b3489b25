"""An emulated link between device and host: the regime of a real GPU, shown on a laptop.

A transfer over it lasts at least num_copies × seconds_per_copy + num_bytes / bandwidth, after the
earlier ones of its direction. The copies themselves are the device's own and real; the link only
holds back the moment at which they count as done. Whoever waits sleeps, so the time is free for
the model to run in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from engines.core.device import (
    Batch,
    BlockRun,
    Device,
    Direction,
    Transfer,
    TransferStats,
)


class LinkTransfer:
    """Implements `engines.core.device.Transfer`."""

    def __init__(
        self,
        copies: Transfer,
        *,
        submitted_at: float,
        begins_at: float,
        ends_at: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._copies = copies
        self._submitted_at = submitted_at
        self._begins_at = begins_at
        self._ends_at = ends_at
        self._clock = clock
        self._sleep = sleep

    @property
    def stats(self) -> TransferStats:
        return self._copies.stats

    @property
    def duration_s(self) -> float:
        return max(self._ends_at - self._submitted_at, self._copies.duration_s)

    @property
    def copying_s(self) -> float:
        return max(self._ends_at - self._begins_at, self._copies.copying_s)

    def is_done(self) -> bool:
        return self._copies.is_done() and self._clock() >= self._ends_at

    def wait(self) -> None:
        self._copies.wait()
        while (remaining_s := self._ends_at - self._clock()) > 0:
            self._sleep(remaining_s)


class EmulatedLink:
    """Implements `engines.core.device.Device` around another one."""

    def __init__(
        self,
        device: Device,
        *,
        bandwidth_bytes_per_s: float,
        seconds_per_copy: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Bandwidth is each direction's own."""
        assert bandwidth_bytes_per_s > 0, bandwidth_bytes_per_s
        assert seconds_per_copy >= 0, seconds_per_copy
        self.block_size = device.block_size
        self.num_device_blocks = device.num_device_blocks
        self.num_host_blocks = device.num_host_blocks
        self._device = device
        self._bandwidth = bandwidth_bytes_per_s
        self._seconds_per_copy = seconds_per_copy
        self._clock = clock
        self._sleep = sleep
        self._free_at = dict.fromkeys(Direction, clock())

    def execute(self, batch: Batch) -> list[int | None]:
        return self._device.execute(batch)

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> Transfer:
        submitted_at = self._clock()
        copies = self._device.transfer(direction, runs)
        stats = copies.stats
        begins_at = max(submitted_at, self._free_at[direction])
        copying_s = stats.num_copies * self._seconds_per_copy + stats.num_bytes / self._bandwidth
        self._free_at[direction] = begins_at + copying_s
        return LinkTransfer(
            copies,
            submitted_at=submitted_at,
            begins_at=begins_at,
            ends_at=begins_at + copying_s,
            clock=self._clock,
            sleep=self._sleep,
        )

    def close(self) -> None:
        self._device.close()
