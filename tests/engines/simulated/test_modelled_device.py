from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.device import Batch, BlockRun, Direction, SequenceChunk, TransferStats
from engines.core.sampling_params import SamplingParams
from engines.core.settings import Copy, Layout
from engines.simulated.constants import Profile
from engines.simulated.device import TOKEN_ID, ModelledDevice, VirtualClock
from engines.simulated.profile import load_profile
from engines.simulated.transfer_plan import TransferPlan

A10 = load_profile("a10-llama3-8b")
COPIES = ("per_block", "merged", "batched")
LAYOUTS = ("per_layer", "cross_layer")

runs = st.lists(st.integers(1, 40), min_size=1, max_size=6).map(
    lambda sizes: [
        BlockRun(source=100 * i, target=100 * i, num_blocks=size) for i, size in enumerate(sizes)
    ]
)


def device(
    clock: VirtualClock,
    *,
    copy: str = "per_block",
    layout: str = "per_layer",
    num_copy_threads: int = 2,
    profile: Profile = A10,
) -> ModelledDevice:
    return ModelledDevice(
        profile,
        clock,
        block_size=16,
        num_device_blocks=1000,
        num_host_blocks=1000,
        layout=cast("Layout", layout),
        copy=cast("Copy", copy),
        num_copy_threads=num_copy_threads,
    )


@given(runs, st.sampled_from(COPIES), st.sampled_from(LAYOUTS))
def test_copies_are_counted_as_the_real_device_counts_them(
    parts: list[BlockRun], copy: Copy, layout: Layout
) -> None:
    assert TransferPlan(A10, block_size=16, layout=layout, copy=copy).stats(parts) == real_stats(
        parts, copy, layout
    )


def real_stats(parts: list[BlockRun], copy: Copy, layout: Layout) -> TransferStats:
    torch = pytest.importorskip("torch")
    from engines.embedded.devices.copies import batches_of, stats_of
    from engines.embedded.devices.kv_pool import block_shape

    shape = block_shape(A10.shape, torch.bfloat16, block_size=16, layout=layout)
    return stats_of(batches_of(parts, shape, copy), shape, copy)


def test_a_swap_of_a_long_context_costs_what_the_papers_count() -> None:
    """2,000 tokens of Llama-3-8B, a copy per block, layer and K or V: 126 blocks, 8,064 copies."""
    clock = VirtualClock()
    swap = device(clock).transfer(
        Direction.SWAP_OUT,
        [BlockRun(source=2 * i, target=2 * i, num_blocks=1) for i in range(126)],
    )
    assert swap.stats == TransferStats(num_copies=8064, num_bytes=126 * 16 * 131_072)
    assert not swap.is_done()
    swap.wait()
    assert clock.now() == pytest.approx(8064 * 5e-6 + 126 * 16 * 131_072 / 25e9)
    assert swap.duration_s == swap.copying_s == clock.now()


def test_transfers_of_one_direction_wait_for_each_other() -> None:
    clock = VirtualClock()
    queue = device(clock, copy="merged")
    run = [BlockRun(source=0, target=0, num_blocks=50)]
    first, second = (queue.transfer(Direction.SWAP_IN, run) for _ in range(2))
    second.wait()
    assert first.is_done()
    assert second.copying_s == pytest.approx(first.copying_s)
    assert second.duration_s == pytest.approx(2 * first.duration_s)


def test_copy_threads_leave_the_engine_free_and_without_them_it_waits() -> None:
    run = [BlockRun(source=0, target=0, num_blocks=50)]
    free, busy = VirtualClock(), VirtualClock()
    transfer = device(free).transfer(Direction.SWAP_OUT, run)
    assert free.now() == 0.0
    device(busy, num_copy_threads=0).transfer(Direction.SWAP_OUT, run)
    transfer.wait()
    assert busy.now() == free.now() > 0.0


def test_small_pieces_of_a_batched_copy_fall_off_the_cliff() -> None:
    """Half the heads on each of two GPUs make pieces of 16 KiB; whole ones are 32 KiB."""
    run = [BlockRun(source=3 * i, target=3 * i, num_blocks=1) for i in range(100)]
    names = ("rtxpro6000-qwen3-32b", "rtxpro6000x2-qwen3-32b")
    took_s = []
    for name in names:
        clock = VirtualClock()
        batched = device(clock, copy="batched", profile=load_profile(name))
        batched.transfer(Direction.SWAP_OUT, run).wait()
        took_s.append(clock.now())
    assert took_s[1] > 2 * took_s[0]  # though each moves half the bytes


def test_every_chunk_that_samples_gets_a_token_and_time_passes() -> None:
    clock = VirtualClock(5.0)
    sampling = SamplingParams(max_tokens=4)
    chunks = [
        SequenceChunk("a", [1], 9, [0], sampling, 1),
        SequenceChunk("b", range(64), 0, [1, 2, 3, 4], None, 0),
    ]
    assert device(clock).execute(Batch(chunks=chunks)) == [TOKEN_ID, None]
    assert 5.01 < clock.now() < 5.1
