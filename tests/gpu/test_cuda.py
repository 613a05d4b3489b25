"""What only a CUDA device can show: its copies, and the CPU's tokens through all of them."""

from __future__ import annotations

import itertools
import random
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import torch

from engines.core.device import Batch, BlockRun, Direction
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, Copy, Layout, Swap
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.torch_device import TorchDevice
from tests.engines.embedded.devices.decoding import (
    Sequence,
    device_for,
    generate,
    small_decoder,
    step,
)
from tests.engines.embedded.devices.test_every_combination import (
    Played,
    check,
    tiny_decoder,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LAYOUTS: list[Layout] = ["per_layer", "cross_layer"]
COPY_MODES: list[Copy] = ["per_block", "merged", "batched", "kernel"]
EVERY_WAY = pytest.mark.parametrize(
    "steps",
    [{"attention": "torch"}, {"attention": "triton"}, {"attention": "triton", "max_graph_rows": 4}],
    ids=["torch", "triton", "graphs"],
)
EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)
EVERY_COPY_MODE = pytest.mark.parametrize("copy", COPY_MODES)
EVERY_NUM_THREADS = pytest.mark.parametrize("num_threads", [0, 1, 2])
PROMPT = [random.Random(0).randrange(300) for _ in range(30)]
OUT, IN = Direction.SWAP_OUT, Direction.SWAP_IN
SWAPS: list[Swap] = ["sync", "async", "adaptive"]
# Which blocks an allocator gives, and what of a history is used again, is no difference to copies.
SWAPPING = {
    f"{layout}-{copy}-{swap}": replace(PRESETS["fastswitch"], layout=layout, copy=copy, swap=swap)
    for layout, copy, swap in itertools.product(LAYOUTS, COPY_MODES, SWAPS)
}


def scribble(device: TorchDevice) -> None:
    for block in range(64):
        device.block_content("device", block).normal_(std=100.0)


def undisturbed() -> list[int]:
    alone = Sequence(token_ids=PROMPT, block_table=[*range(12)])
    return generate(device_for(small_decoder()), alone, 8)


@EVERY_LAYOUT
@EVERY_COPY_MODE
@EVERY_NUM_THREADS
def test_swap_out_then_in_restores_every_block_to_the_bit(
    layout: Layout, copy: Copy, num_threads: int
) -> None:
    decoder = small_decoder(torch.bfloat16, device="cuda")
    out = [
        BlockRun(source=0, target=30, num_blocks=5),
        BlockRun(source=7, target=3, num_blocks=1),
        BlockRun(source=10, target=50, num_blocks=10),
    ]
    back = [
        BlockRun(source=run.target, target=run.source, num_blocks=run.num_blocks) for run in out
    ]
    moved = {run.source + offset for run in out for offset in range(run.num_blocks)}
    with closing(
        device_for(decoder, layout=layout, copy=copy, num_copy_threads=num_threads)
    ) as device:
        scribble(device)
        before = {block: device.block_content("device", block).clone() for block in moved}
        device.transfer(OUT, out).wait()
        scribble(device)
        device.transfer(IN, back).wait()
        for block, content in before.items():
            assert torch.equal(device.block_content("device", block), content)


@EVERY_LAYOUT
@EVERY_COPY_MODE
@EVERY_NUM_THREADS
def test_a_sequence_swapped_after_every_step_says_what_the_cpu_says(
    layout: Layout, copy: Copy, num_threads: int
) -> None:
    out = [BlockRun(source=block, target=block + 20, num_blocks=1) for block in range(12)]
    back = [BlockRun(source=run.target, target=run.source, num_blocks=1) for run in out]
    with closing(
        device_for(
            small_decoder(device="cuda"), layout=layout, copy=copy, num_copy_threads=num_threads
        )
    ) as device:
        sequence = Sequence(token_ids=PROMPT, block_table=[*range(12)])
        while len(sequence.output) < 8:
            step(device, (sequence, None))
            device.transfer(OUT, out).wait()
            scribble(device)
            device.transfer(IN, back).wait()
    assert sequence.output == undisturbed()


@EVERY_LAYOUT
@EVERY_COPY_MODE
def test_transfers_in_flight_do_not_disturb_the_model(layout: Layout, copy: Copy) -> None:
    with closing(
        device_for(small_decoder(device="cuda"), layout=layout, copy=copy, num_copy_threads=2)
    ) as device:
        ours = Sequence(token_ids=PROMPT, block_table=[*range(12)])
        step(device, (ours, None))
        flights = []
        while len(ours.output) < 8:
            flights.append(device.transfer(OUT, [BlockRun(source=20, target=3, num_blocks=40)]))
            step(device, (ours, None))
        for flight in flights:
            flight.wait()
    assert ours.output == undisturbed()


@EVERY_WAY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prompt_in_chunks_says_what_it_says_in_one_piece(
    dtype: torch.dtype, steps: dict[str, Any]
) -> None:
    decoder = small_decoder(dtype, device="cuda")
    whole = Sequence(token_ids=PROMPT, block_table=[*range(12)])
    parts = Sequence(token_ids=PROMPT, block_table=[*range(20, 32)])
    with closing(device_for(decoder, **steps)) as device:
        step(device, (whole, None))
        step(device, (parts, 13))
        step(device, (parts, None))
        check_blocks(device, device, [(0, 20), (3, 23), (7, 27)], dtype)
    assert len(whole.output) == len(parts.output) == 1


@EVERY_WAY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decode_steps_write_what_the_cpu_writes(dtype: torch.dtype, steps: dict[str, Any]) -> None:
    """The same tokens put in, one a step; K and V of all layers and positions."""
    with (
        closing(device_for(small_decoder(dtype, device="cuda"), **steps)) as ours,
        closing(device_for(small_decoder(dtype))) as cpu,
    ):
        ours.prepare()
        for device in (ours, cpu):
            each = Sequence(token_ids=PROMPT, block_table=[*range(12)])
            step(device, (each, 13))
            while each.num_computed < len(PROMPT):
                chunk = replace(each.chunk(1), sampling=SamplingParams(max_tokens=64))
                device.execute(Batch(chunks=[chunk]))
                each.num_computed += 1
        check_blocks(ours, cpu, [(block, block) for block in range(8)], dtype)


def check_blocks(
    ours: TorchDevice, other: TorchDevice, pairs: list[tuple[int, int]], dtype: torch.dtype
) -> None:
    tolerance = 1e-4 if dtype is torch.float32 else 6e-2
    for our_block, other_block in pairs:
        torch.testing.assert_close(
            ours.block_content("device", our_block).cpu(),
            other.block_content("device", other_block).cpu(),
            rtol=tolerance,
            atol=tolerance,
        )


@EVERY_WAY
def test_tokens_of_a_batch_are_the_cpus(steps: dict[str, Any]) -> None:
    """In float64, which rounds nothing that decides; three decode, and fill a graph of four."""
    with closing(device_for(small_decoder(device="cuda"), **steps)) as device:
        device.prepare()
        sequences = [
            Sequence(token_ids=PROMPT, block_table=[*range(12 * i, 12 * i + 12)]) for i in range(3)
        ]
        while len(sequences[0].output) < 8:
            step(device, *((each, None) for each in sequences))
    assert [each.output for each in sequences] == [undisturbed()] * 3


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder("cuda")


@pytest.mark.parametrize("combination", SWAPPING)
def test_every_swapping_combination_gives_the_cpus_tokens(
    combination: str, decoder: Decoder
) -> None:
    """With graphs where blocks go in runs: their recording is slow, and once a way is enough."""
    mechanisms = SWAPPING[combination]
    max_graph_rows = 4 if mechanisms.copy == "merged" else 0
    check(Played(mechanisms, decoder, max_graph_rows=max_graph_rows), mechanisms)
