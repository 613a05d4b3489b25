from __future__ import annotations

import pytest

from engines.core.device import BlockRun, Device, Direction, TransferError
from engines.embedded.devices.link import EmulatedLink
from tests.engines.core.async_memory_device import AsyncMemoryDevice
from tests.engines.core.memory_device import MemoryDevice

OUT, IN = Direction.SWAP_OUT, Direction.SWAP_IN
SIZES = {"block_size": 4, "num_device_blocks": 16, "num_host_blocks": 16}


class Time:
    """Passes only for those who sleep, and then a little too little, as it does."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps.append(seconds)
        self.now += seconds * (0.9 if len(self.sleeps) == 1 else 1.0)


def linked(device: Device, time: Time) -> EmulatedLink:
    """1 s a copy, 2 blocks a second."""
    return EmulatedLink(
        device,
        bandwidth_bytes_per_s=2.0,
        seconds_per_copy=1.0,
        clock=time.clock,
        sleep=time.sleep,
    )


def run(first: int, num_blocks: int) -> list[BlockRun]:
    return [BlockRun(source=first, target=first, num_blocks=num_blocks)]


def test_a_transfer_counts_as_done_when_the_link_has_carried_it() -> None:
    time = Time()
    transfer = linked(MemoryDevice(**SIZES), time).transfer(OUT, run(0, 4))
    assert not transfer.is_done()
    time.now += 2.9
    assert not transfer.is_done()
    time.now += 0.11
    assert transfer.is_done()
    assert (transfer.duration_s, transfer.copying_s) == (3.0, 3.0)
    assert (transfer.stats.num_copies, transfer.stats.num_bytes) == (1, 4)


def test_transfers_queue_behind_those_of_their_direction_only() -> None:
    time = Time()
    link = linked(MemoryDevice(**SIZES), time)
    first, second = link.transfer(OUT, run(0, 4)), link.transfer(OUT, run(4, 2))
    other_way = link.transfer(IN, run(8, 2))
    time.now += 2.0
    assert (first.is_done(), second.is_done(), other_way.is_done()) == (False, False, True)
    time.now += 3.0
    assert second.is_done()
    assert (second.duration_s, second.copying_s) == (5.0, 2.0)
    assert link.transfer(OUT, run(0, 4)).is_done() is False  # an idle link starts at once


def test_waiting_sleeps_until_the_link_has_carried_it() -> None:
    time = Time()
    link = linked(MemoryDevice(**SIZES), time)
    link.transfer(OUT, run(0, 4)).wait()
    assert time.now == pytest.approx(103.0)
    assert len(time.sleeps) == 2  # the second made up for the first's having been short


def test_a_device_slower_than_the_link_is_waited_for() -> None:
    device = AsyncMemoryDevice(**SIZES, seconds_per_copy=10.0)
    link = EmulatedLink(
        device, bandwidth_bytes_per_s=1e9, seconds_per_copy=0.0, clock=device.clock, sleep=print
    )
    transfer = link.transfer(OUT, run(0, 4))
    device.now = 5.0
    assert not transfer.is_done()
    transfer.wait()
    assert device.now >= 10.0
    assert transfer.duration_s == transfer.copying_s == pytest.approx(10.0, rel=1e-2)


def test_a_failed_copy_is_raised_through_the_link() -> None:
    device = AsyncMemoryDevice(**SIZES)
    link = linked(device, Time())
    transfer = link.transfer(OUT, run(0, 4))
    device.fault = OSError("gone")
    for look in (transfer.is_done, transfer.wait, lambda: link.transfer(IN, run(8, 2))):
        with pytest.raises(TransferError, match="gone"):
            look()


def test_a_link_is_a_device_of_the_same_sizes() -> None:
    link: Device = linked(MemoryDevice(**SIZES), Time())
    assert (link.block_size, link.num_device_blocks, link.num_host_blocks) == (4, 16, 16)
    link.close()
