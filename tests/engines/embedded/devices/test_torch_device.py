from __future__ import annotations

import random
import threading
from contextlib import closing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core.device import (
    Batch,
    BlockRun,
    Device,
    Direction,
    TransferError,
    TransferStats,
)
from engines.core.sampling_params import SamplingParams
from engines.core.settings import Copy, Layout
from engines.embedded.devices.torch_device import TorchDevice, single_core_queue
from engines.errors import EngineInputError
from tests.engines.embedded.devices.decoding import (
    SMALL,
    Sequence,
    device_for,
    generate,
    small_decoder,
    step,
)

PROMPT = [random.Random(0).randrange(300) for _ in range(30)]
DECODER = small_decoder()
OUT, IN = Direction.SWAP_OUT, Direction.SWAP_IN
LAYOUTS: list[Layout] = ["per_layer", "cross_layer"]
COPY_MODES: list[Copy] = ["per_block", "merged", "batched"]
EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)
EVERY_COPY_MODE = pytest.mark.parametrize("copy", COPY_MODES)
EVERY_NUM_THREADS = pytest.mark.parametrize("num_threads", [0, 1, 2])


def scribble(device: TorchDevice, blocks: list[int]) -> None:
    for block in blocks:
        device.block_content("device", block).normal_(std=100.0)


def undisturbed() -> list[int]:
    alone = Sequence(token_ids=PROMPT, block_table=[*range(12)])
    return generate(device_for(DECODER), alone, 8)


def runs_of(pairs: list[tuple[int, int]]) -> list[BlockRun]:
    return [BlockRun(source=source, target=target, num_blocks=1) for source, target in pairs]


def test_it_is_a_device() -> None:
    device: Device = device_for(DECODER)  # the type checker's part
    assert (device.block_size, device.num_device_blocks, device.num_host_blocks) == (4, 64, 64)


@EVERY_LAYOUT
@EVERY_COPY_MODE
@EVERY_NUM_THREADS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swap_out_then_in_restores_every_block_to_the_bit(
    layout: Layout, copy: Copy, num_threads: int, dtype: torch.dtype
) -> None:
    decoder = small_decoder(dtype)
    out = [
        BlockRun(source=0, target=30, num_blocks=5),
        BlockRun(source=7, target=3, num_blocks=1),
        BlockRun(source=10, target=50, num_blocks=10),
    ]
    back = [
        BlockRun(source=run.target, target=run.source, num_blocks=run.num_blocks) for run in out
    ]
    with closing(
        device_for(decoder, layout=layout, copy=copy, num_copy_threads=num_threads)
    ) as device:
        scribble(device, [*range(20)])
        before = [device.block_content("device", block).clone() for block in range(20)]
        device.transfer(OUT, out).wait()
        scribble(device, [*range(64)])
        ruined = [device.block_content("device", block).clone() for block in range(20)]
        device.transfer(IN, back).wait()
        moved = {run.source + offset for run in out for offset in range(run.num_blocks)}
        for block in range(20):
            expected = before[block] if block in moved else ruined[block]
            assert torch.equal(device.block_content("device", block), expected)


@EVERY_LAYOUT
@pytest.mark.parametrize(
    ("copy", "num_pieces"), [("per_block", 5 + 1 + 2), ("merged", 3), ("batched", None)]
)
def test_a_transfer_counts_its_copies_and_bytes(
    layout: Layout, copy: Copy, num_pieces: int | None
) -> None:
    device = device_for(DECODER, copy=copy, layout=layout)
    runs = [
        BlockRun(source=0, target=8, num_blocks=5),
        BlockRun(source=9, target=0, num_blocks=1),
        BlockRun(source=20, target=20, num_blocks=2),
    ]
    transfer = device.transfer(IN, runs)
    assert transfer.is_done()
    num_parts = SMALL.num_layers * 2 if layout == "per_layer" else 1
    assert transfer.stats.num_copies == (num_pieces * num_parts if num_pieces else 1)
    assert transfer.stats.num_bytes == 8 * device.bytes_per_block
    assert transfer.duration_s >= transfer.copying_s >= 0


def test_a_gpus_way_of_copying_is_refused_on_a_cpu_in_one_line() -> None:
    with pytest.raises(EngineInputError, match="copy: kernel needs torch_device: cuda") as got:
        device_for(DECODER, copy="kernel")
    assert "\n" not in str(got.value)


def test_a_kernel_that_plans_for_each_new_shape_is_never_chosen() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    device_for(DECODER)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_a_block_holds_k_and_v_of_all_layers() -> None:
    device = device_for(DECODER)
    block = device.block_content("device", 0)
    assert device.bytes_per_block == block.numel() * block.element_size() == 2 * 2 * 4 * 2 * 16 * 8


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    layout=st.sampled_from(LAYOUTS),
    copy=st.sampled_from(COPY_MODES),
    num_threads=st.integers(0, 2),
)
def test_tokens_survive_being_moved_to_other_blocks(
    seed: int, layout: Layout, copy: Copy, num_threads: int
) -> None:
    """Swapped out at any moment, everything overwritten, swapped in elsewhere."""
    rng = random.Random(seed)
    expected = undisturbed()
    with closing(
        device_for(DECODER, layout=layout, copy=copy, num_copy_threads=num_threads)
    ) as device:
        sequence = Sequence(token_ids=PROMPT, block_table=rng.sample(range(64), 12))
        step(device, (sequence, rng.choice([None, 1, 13, 29])))
        while len(sequence.output) < 8:
            if rng.random() < 0.5:
                host, new = rng.sample(range(64), 12), rng.sample(range(64), 12)
                out = runs_of([*zip(sequence.block_table, host, strict=True)])
                device.transfer(OUT, out).wait()
                scribble(device, [*range(64)])
                device.transfer(IN, runs_of([*zip(host, new, strict=True)])).wait()
                sequence.block_table = new
            step(device, (sequence, None))
    assert sequence.output == expected


@EVERY_LAYOUT
@EVERY_COPY_MODE
def test_transfers_in_flight_disturb_neither_the_model_nor_each_other(
    layout: Layout, copy: Copy
) -> None:
    """One sequence decodes while the other's blocks go out and come in, not waited for."""
    expected = undisturbed()
    with closing(device_for(DECODER, layout=layout, copy=copy, num_copy_threads=2)) as device:
        ours = Sequence(token_ids=PROMPT, block_table=[*range(12)])
        other = Sequence(token_ids=PROMPT, block_table=[*range(20, 32)])
        step(device, (ours, None), (other, None))
        out = device.transfer(OUT, [BlockRun(source=20, target=3, num_blocks=12)])
        while len(ours.output) < 5:
            step(device, (ours, None))
        out.wait()
        scribble(device, [*range(20, 64)])
        back = device.transfer(IN, [BlockRun(source=3, target=45, num_blocks=12)])
        while len(ours.output) < 8:
            step(device, (ours, None))
        back.wait()
        other.block_table = [*range(45, 57)]
        while len(other.output) < 8:
            step(device, (other, None))
    assert ours.output == other.output == expected


def test_copy_threads_keep_to_one_core_and_leave_the_others_theirs() -> None:
    def num_threads_in(run: threading.Thread) -> int:
        run.start()
        run.join()
        return found.pop()

    found: list[int] = []

    def look() -> None:
        found.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with closing(single_core_queue(2, lambda: 0.0)) as queue:
            queue.submit(OUT, TransferStats(num_copies=1, num_bytes=1), [look]).wait()
            assert found.pop() == 1
            assert torch.get_num_threads() == 3
            assert num_threads_in(threading.Thread(target=look)) == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_copy_that_fails_breaks_the_device_loudly(
    num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    with closing(device_for(DECODER, copy="batched", num_copy_threads=num_threads)) as device:
        monkeypatch.setattr(torch, "_foreach_copy_", fail)
        for _ in range(2):
            with pytest.raises(TransferError, match="no room"):
                device.transfer(OUT, runs_of([(1, 2)])).wait()


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
    expected = undisturbed()[:6]
    device = device_for(DECODER)
    scribble(device, [*range(64)])
    sequence = Sequence(token_ids=PROMPT, block_table=[*range(12)])
    assert generate(device, sequence, 6) == expected


def test_a_run_past_the_pool_is_caught() -> None:
    device = device_for(DECODER, num_blocks=8)
    with pytest.raises(AssertionError, match="reads past 8 blocks"):
        device.transfer(OUT, [BlockRun(source=6, target=0, num_blocks=3)])
    with pytest.raises(AssertionError, match="writes past 8 blocks"):
        device.transfer(OUT, [BlockRun(source=0, target=6, num_blocks=3)])


def test_a_pool_larger_than_memory_is_refused_in_one_line() -> None:
    with pytest.raises(EngineInputError, match=r"needs \d+\.\d GiB on cpu.*lower kv_tokens") as got:
        device_for(DECODER, num_blocks=10**10)
    assert "\n" not in str(got.value)
