"""The device that guards the core's tests has to catch what it is there for."""

from __future__ import annotations

import pytest

from engines.core.device import (
    Batch,
    BlockRun,
    Device,
    Direction,
    SequenceChunk,
    TransferError,
)
from engines.core.sampling_params import SamplingParams
from tests.engines.core.async_memory_device import AsyncMemoryDevice
from tests.engines.core.memory_device import undisturbed

PROMPT = [7, 3, 9, 1, 4]
OUT, IN = Direction.SWAP_OUT, Direction.SWAP_IN


def make(**changes: object) -> AsyncMemoryDevice:
    return AsyncMemoryDevice(
        block_size=4,
        num_device_blocks=8,
        num_host_blocks=8,
        **changes,  # type: ignore[arg-type]
    )


def batch(tokens: list[int], start: int, table: list[int]) -> Batch:
    chunk = SequenceChunk(
        request_id="r",
        token_ids=tokens,
        start=start,
        block_table=table,
        sampling=SamplingParams(max_tokens=9),
        output_index=0,
    )
    return Batch(chunks=[chunk])


def run(source: int, target: int, num_blocks: int = 1) -> list[BlockRun]:
    return [BlockRun(source=source, target=target, num_blocks=num_blocks)]


def test_tokens_survive_a_swap_out_and_in_elsewhere() -> None:
    device: Device = make()
    first = device.execute(batch(PROMPT, 0, [0, 1]))
    device.transfer(OUT, run(0, 3, 2)).wait()
    device.transfer(IN, run(3, 5, 2)).wait()
    assert first + device.execute(batch([first[0] or 0], 5, [5, 6])) == undisturbed(PROMPT, 2)


def test_a_transfer_takes_its_time_behind_those_of_its_direction_only() -> None:
    device = make(seconds_per_copy=1.0, bandwidth_bytes_per_s=2.0)
    first, second = device.transfer(OUT, run(0, 0, 2)), device.transfer(OUT, run(4, 4, 4))
    other_way = device.transfer(IN, run(2, 2))
    device.now = 1.5
    assert (first.is_done(), second.is_done(), other_way.is_done()) == (False, False, True)
    assert device.num_unfinished == 2
    second.wait()
    assert device.now == 5.0
    assert first.is_done()
    assert (second.duration_s, second.copying_s) == (5.0, 3.0)
    assert (first.duration_s, first.copying_s) == (2.0, 2.0)


@pytest.mark.parametrize("direction", [OUT, IN])
def test_running_on_blocks_of_a_transfer_not_seen_done_is_caught(direction: Direction) -> None:
    device = make(seconds_per_copy=0.0, bandwidth_bytes_per_s=1.0)
    transfer = device.transfer(direction, run(1, 1))
    with pytest.raises(AssertionError, match="device block 1 used"):
        device.execute(batch(PROMPT, 0, [0, 1]))
    device.now = 2.0  # complete, but nobody looked
    with pytest.raises(AssertionError, match="device block 1 used"):
        device.execute(batch(PROMPT, 0, [0, 1]))
    assert transfer.is_done()
    device.execute(batch(PROMPT, 0, [0, 1]))


def test_seeing_a_later_transfer_of_the_direction_done_releases_the_earlier_ones() -> None:
    device = make()
    device.transfer(OUT, run(0, 0))
    device.transfer(IN, run(5, 5))
    device.transfer(OUT, run(1, 1)).wait()
    device.execute(batch(PROMPT, 0, [0, 1]))
    with pytest.raises(AssertionError, match="device block 5 used"):
        device.execute(batch(PROMPT, 0, [0, 5]))


def test_a_transfer_from_or_to_blocks_of_an_unfinished_one_is_caught() -> None:
    device = make()
    device.transfer(OUT, run(0, 3))
    with pytest.raises(AssertionError, match="host block 3 used"):
        device.transfer(IN, run(3, 6))
    with pytest.raises(AssertionError, match="device block 0 used"):
        device.transfer(IN, run(4, 0))
    with pytest.raises(AssertionError, match="runs overlap"):
        device.transfer(OUT, [*run(5, 5), *run(5, 6)])


def test_sources_are_poisoned_unless_they_stay_valid() -> None:
    def token_after_second_read(device: AsyncMemoryDevice) -> list[int | None]:
        first = device.execute(batch(PROMPT, 0, [0, 1]))
        device.transfer(OUT, run(0, 3, 2)).wait()
        device.transfer(IN, run(3, 5, 2)).wait()
        device.transfer(IN, run(3, 0, 2)).wait()  # the same host blocks once more
        return device.execute(batch([first[0] or 0], 5, [0, 1]))

    expected = undisturbed(PROMPT, 2)[1:]
    assert token_after_second_read(make(poisons=[OUT])) == expected
    assert token_after_second_read(make()) != expected


def test_a_fault_is_raised_by_whoever_looks_next() -> None:
    device = make()
    transfer = device.transfer(OUT, run(0, 0))
    device.fault = RuntimeError("the link is gone")
    for look in (transfer.is_done, transfer.wait, lambda: device.transfer(IN, run(5, 5))):
        with pytest.raises(TransferError, match="the link is gone"):
            look()
