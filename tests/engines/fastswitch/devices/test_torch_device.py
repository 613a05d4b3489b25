from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.api import EngineInputError
from engines.fastswitch.device import Batch, BlockRun, Device, Direction
from engines.fastswitch.devices.torch_device import TorchDevice
from engines.fastswitch.request import SamplingParams
from engines.fastswitch.settings import Copy
from tests.engines.fastswitch.devices.decoding import (
    SMALL,
    Sequence,
    device_for,
    generate,
    small_decoder,
    step,
)

PROMPT = [random.Random(0).randrange(300) for _ in range(30)]
DECODER = small_decoder()
BOTH_COPY_MODES = pytest.mark.parametrize("copy", ["per_block", "merged"])


def scribble(device: TorchDevice, blocks: list[int]) -> None:
    for block in blocks:
        device.block_content("device", block).normal_(std=100.0)


def runs_of(pairs: list[tuple[int, int]]) -> list[BlockRun]:
    return [BlockRun(source=source, target=target, num_blocks=1) for source, target in pairs]


def test_it_is_a_device() -> None:
    device: Device = device_for(DECODER)  # the type checker's part
    assert (device.block_size, device.num_device_blocks, device.num_host_blocks) == (4, 64, 64)


@BOTH_COPY_MODES
def test_swap_out_then_in_restores_every_block_to_the_bit(copy: Copy) -> None:
    device = device_for(small_decoder(torch.float32), copy=copy)
    scribble(device, [*range(20)])
    before = [device.block_content("device", block).clone() for block in range(20)]
    out = [
        BlockRun(source=0, target=30, num_blocks=5),
        BlockRun(source=7, target=3, num_blocks=1),
        BlockRun(source=10, target=50, num_blocks=10),
    ]
    back = [
        BlockRun(source=run.target, target=run.source, num_blocks=run.num_blocks) for run in out
    ]
    device.transfer(Direction.SWAP_OUT, out).wait()
    scribble(device, [*range(64)])
    ruined = [device.block_content("device", block).clone() for block in range(20)]
    device.transfer(Direction.SWAP_IN, back).wait()
    moved = {run.source + offset for run in out for offset in range(run.num_blocks)}
    for block in range(20):
        expected = before[block] if block in moved else ruined[block]
        assert torch.equal(device.block_content("device", block), expected)


@pytest.mark.parametrize(("copy", "num_pieces"), [("per_block", 5 + 1 + 2), ("merged", 3)])
def test_a_transfer_counts_its_copies_and_bytes(copy: Copy, num_pieces: int) -> None:
    device = device_for(DECODER, copy=copy)
    runs = [
        BlockRun(source=0, target=8, num_blocks=5),
        BlockRun(source=9, target=0, num_blocks=1),
        BlockRun(source=20, target=20, num_blocks=2),
    ]
    transfer = device.transfer(Direction.SWAP_IN, runs)
    assert transfer.is_done()
    assert transfer.stats.num_copies == num_pieces * SMALL.num_layers * 2
    assert transfer.stats.num_bytes == 8 * device.bytes_per_block


def test_a_block_holds_k_and_v_of_all_layers() -> None:
    device = device_for(DECODER)
    block = device.block_content("device", 0)
    assert device.bytes_per_block == block.numel() * block.element_size() == 2 * 2 * 4 * 2 * 16 * 8


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), copy=st.sampled_from(["per_block", "merged"]))
def test_tokens_survive_being_moved_to_other_blocks(seed: int, copy: Copy) -> None:
    """Swapped out at any moment, everything overwritten, swapped in elsewhere."""
    rng = random.Random(seed)
    expected = generate(
        device_for(DECODER), Sequence(token_ids=PROMPT, block_table=[*range(12)]), 8
    )
    device = device_for(DECODER, copy=copy)
    sequence = Sequence(token_ids=PROMPT, block_table=rng.sample(range(64), 12))
    step(device, (sequence, rng.choice([None, 1, 13, 29])))
    while len(sequence.output) < 8:
        if rng.random() < 0.5:
            host, new = rng.sample(range(64), 12), rng.sample(range(64), 12)
            out = runs_of([*zip(sequence.block_table, host, strict=True)])
            device.transfer(Direction.SWAP_OUT, out).wait()
            scribble(device, [*range(64)])
            device.transfer(Direction.SWAP_IN, runs_of([*zip(host, new, strict=True)])).wait()
            sequence.block_table = new
        step(device, (sequence, None))
    assert sequence.output == expected


def test_sampled_tokens_are_the_same_alone_and_beside_others() -> None:
    sampling = SamplingParams(max_tokens=8, temperature=1.0, top_p=0.9, seed=5)
    alone = Sequence(token_ids=PROMPT, block_table=[*range(12)], sampling=sampling)
    expected = generate(device_for(DECODER), alone, 8)
    device = device_for(DECODER)
    ours = Sequence(token_ids=PROMPT, block_table=[*range(12)], sampling=sampling)
    other = Sequence(token_ids=PROMPT[:3], block_table=[*range(20, 30)])
    step(device, (other, None), (ours, 11))
    while len(ours.output) < 8:
        step(device, (other, None), (ours, None))
    assert ours.output == expected
    assert len(set(expected)) > 1


def test_min_tokens_puts_the_end_of_sequence_off() -> None:
    free = generate(device_for(DECODER), Sequence(token_ids=PROMPT, block_table=[*range(12)]), 3)
    sampling = SamplingParams(max_tokens=8, min_tokens=2, eos_token_ids=frozenset({free[0]}))
    sequence = Sequence(token_ids=PROMPT, block_table=[*range(12)], sampling=sampling)
    assert free[0] not in generate(device_for(DECODER), sequence, 2)


def test_a_batch_in_which_nothing_samples_gives_no_token() -> None:
    device = device_for(DECODER)
    sequence = Sequence(token_ids=PROMPT, block_table=[*range(12)])
    assert device.execute(Batch(chunks=[sequence.chunk(5)])) == [None]


def test_unwritten_slots_do_not_matter() -> None:
    expected = generate(
        device_for(DECODER), Sequence(token_ids=PROMPT, block_table=[*range(12)]), 6
    )
    device = device_for(DECODER)
    scribble(device, [*range(64)])
    sequence = Sequence(token_ids=PROMPT, block_table=[*range(12)])
    assert generate(device, sequence, 6) == expected


def test_a_run_past_the_pool_is_caught() -> None:
    device = device_for(DECODER, num_blocks=8)
    with pytest.raises(AssertionError, match="reads past 8 blocks"):
        device.transfer(Direction.SWAP_OUT, [BlockRun(source=6, target=0, num_blocks=3)])
    with pytest.raises(AssertionError, match="writes past 8 blocks"):
        device.transfer(Direction.SWAP_OUT, [BlockRun(source=0, target=6, num_blocks=3)])


def test_a_pool_larger_than_memory_is_refused_in_one_line() -> None:
    with pytest.raises(EngineInputError, match=r"needs \d+\.\d GiB on cpu.*lower kv_tokens") as got:
        device_for(DECODER, num_blocks=10**10)
    assert "\n" not in str(got.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@BOTH_COPY_MODES
def test_cuda_gives_the_cpus_tokens_through_swaps(copy: Copy) -> None:
    expected = generate(
        device_for(DECODER), Sequence(token_ids=PROMPT, block_table=[*range(12)]), 8
    )
    device = device_for(small_decoder(device="cuda"), copy=copy)
    sequence = Sequence(token_ids=PROMPT, block_table=[*range(12)])
    pairs = [(block, block + 20) for block in range(12)]
    while len(sequence.output) < 8:
        step(device, (sequence, None))
        device.transfer(Direction.SWAP_OUT, runs_of(pairs)).wait()
        scribble(device, [*range(64)])
        device.transfer(Direction.SWAP_IN, runs_of([(to, of) for of, to in pairs])).wait()
    assert sequence.output == expected
