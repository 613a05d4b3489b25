"""How fast KV moves between the two pools, and in how many calls.

    python -m benchmarks.copies

Every layout × copy × placement × number of copy threads swaps the same amount, against the
machine's plain memcpy with as many threads, which each swap is measured beside. All cases in each
round, in an order drawn anew; the median over rounds is kept. A thread keeps to one core, with no
copy threads too.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
import torch

from benchmarks.results import print_table, write_result
from engines.core.device import BlockRun, Direction
from engines.core.settings import Copy, Layout
from engines.embedded.devices.copies import CPU_COPIES
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.torch_device import TorchDevice
from engines.embedded.devices.weights import RandomTensors, assemble
from engines.models.model_config import ModelConfig, rope_frequencies

Placement = Literal["scattered", "runs of 16"]
BLOCK_SIZE = 16
POOL_BLOCKS = 1024
SWAP_BLOCKS = 256
NUM_THREADS = (0, 1, 2)
# KV of 16 KiB a block and part, 256 KiB a block; half of Llama-3-8B's part, an eighth of its block.
# Nothing else of the model is used.
CONFIG = ModelConfig(
    vocab_size=8,
    hidden_size=64,
    intermediate_size=8,
    num_layers=8,
    num_heads=4,
    num_kv_heads=4,
    head_dim=64,
    max_positions=64,
    rms_norm_eps=1e-5,
    inverse_frequencies=rope_frequencies(10_000.0, 64),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    layout: Layout
    copy: Copy
    placement: Placement
    num_copy_threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One swap-out and the swap-in after it."""

    num_copies: int  # of the swap-out; the swap-in has as many
    num_bytes: int  # both ways
    swap_s: float  # from asking to having waited, both ways
    submit_s: float  # of that, inside of the calls that ask
    plain_bytes_per_s: float  # memcpy at about the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    layout: Layout
    copy: Copy
    placement: Placement
    num_copy_threads: int
    num_copies: int  # calls for 256 blocks one way
    parts_per_copy: float  # parts of blocks: one layer's K or V with per_layer, else all of a block
    bytes_per_s: float  # median over rounds, as the ones below
    plain_bytes_per_s: float  # memcpy with as many threads
    plain_ratio: float  # median of each round's ratio
    submit_s: float  # per swap one way, paid by the thread that runs the model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    num_rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    samples = measure(num_rounds, random.Random(0))
    rows = [row_of(case, samples[case]) for case in samples]
    settings = {
        "num_rounds": num_rounds,
        "swap_blocks": SWAP_BLOCKS,
        "bytes_per_block": device_for("per_layer", "merged", 0).bytes_per_block,
    }
    show(rows)
    print(write_result("copies", settings=settings, results=[asdict(row) for row in rows]))


def measure(num_rounds: int, rng: random.Random) -> dict[Case, list[Sample]]:
    grid = itertools.product(get_args(Layout), CPU_COPIES, NUM_THREADS)
    devices = {key: device_for(*key) for key in grid}
    num_bytes = SWAP_BLOCKS * devices["per_layer", "merged", 0].bytes_per_block
    buffers = [np.ones(num_bytes, np.uint8) for _ in range(4)]
    cases = [
        Case(layout=layout, copy=copy, placement=placement, num_copy_threads=num_threads)
        for placement in get_args(Placement)
        for layout, copy, num_threads in devices
    ]
    samples: dict[Case, list[Sample]] = {case: [] for case in cases}
    order = list(cases)
    for is_kept in [False] + [True] * num_rounds:  # the first round touches all memory
        rng.shuffle(order)
        for case in order:
            device = devices[case.layout, case.copy, case.num_copy_threads]
            plain = plain_speed(buffers, max(1, case.num_copy_threads))
            sample = swap(device, *blocks_of(case.placement, rng), plain)
            if is_kept:
                samples[case].append(sample)
    for device in devices.values():
        device.close()
    return samples


def device_for(layout: Layout, copy: Copy, num_copy_threads: int) -> TorchDevice:
    cpu = torch.device("cpu")
    weights = assemble(RandomTensors(CONFIG, 0), CONFIG, dtype=torch.float32, device=cpu)
    return TorchDevice(
        Decoder(CONFIG, weights),
        block_size=BLOCK_SIZE,
        num_device_blocks=POOL_BLOCKS,
        num_host_blocks=POOL_BLOCKS,
        copy=copy,
        layout=layout,
        num_copy_threads=num_copy_threads,
    )


def blocks_of(placement: Placement, rng: random.Random) -> tuple[list[BlockRun], list[BlockRun]]:
    """Runs of a swap-out, and of the swap-in that brings them back."""
    length = 1 if placement == "scattered" else 16
    starts = range(0, POOL_BLOCKS, length)
    num_runs = SWAP_BLOCKS // length
    pairs = list(zip(rng.sample(starts, num_runs), rng.sample(starts, num_runs), strict=True))
    return (
        [BlockRun(source=a, target=b, num_blocks=length) for a, b in pairs],
        [BlockRun(source=b, target=a, num_blocks=length) for a, b in pairs],
    )


def swap(
    device: TorchDevice, out: Sequence[BlockRun], back: Sequence[BlockRun], plain: float
) -> Sample:
    submit_s = 0.0
    began_at = time.perf_counter()
    for direction, runs in ((Direction.SWAP_OUT, out), (Direction.SWAP_IN, back)):
        asked_at = time.perf_counter()
        transfer = device.transfer(direction, runs)
        submit_s += time.perf_counter() - asked_at
        transfer.wait()
    return Sample(
        num_copies=transfer.stats.num_copies,
        num_bytes=2 * transfer.stats.num_bytes,
        swap_s=time.perf_counter() - began_at,
        submit_s=submit_s,
        plain_bytes_per_s=plain,
    )


def plain_speed(buffers: Sequence[np.ndarray], num_threads: int) -> float:
    """Returns the bytes a second of one memcpy a thread, each with its share of a swap's bytes."""
    length = len(buffers[0]) // num_threads
    threads = [
        threading.Thread(
            target=np.copyto, args=(buffers[2 * i][:length], buffers[2 * i + 1][:length])
        )
        for i in range(num_threads)
    ]
    began_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return num_threads * length / (time.perf_counter() - began_at)


def row_of(case: Case, samples: Sequence[Sample]) -> Row:
    num_copies = samples[0].num_copies
    num_parts = 1 if case.layout == "cross_layer" else 2 * CONFIG.num_layers
    speeds = [sample.num_bytes / sample.swap_s for sample in samples]
    plain = [sample.plain_bytes_per_s for sample in samples]
    ratios = [speed / of_plain for speed, of_plain in zip(speeds, plain, strict=True)]
    return Row(
        **asdict(case),
        num_copies=num_copies,
        parts_per_copy=SWAP_BLOCKS * num_parts / num_copies,
        bytes_per_s=statistics.median(speeds),
        plain_bytes_per_s=statistics.median(plain),
        plain_ratio=statistics.median(ratios),
        submit_s=statistics.median(sample.submit_s for sample in samples) / 2,
    )


def show(rows: Sequence[Row]) -> None:
    print(f"{SWAP_BLOCKS} blocks each way")
    print_table(
        ["case", "copy threads", "calls", "parts a call", "GB/s", "memcpy", "of it", "submit ms"],
        [
            (
                f"{row.layout} {row.copy} {row.placement}",
                *(row.num_copy_threads, row.num_copies, f"{row.parts_per_copy:g}"),
                *(f"{row.bytes_per_s / 1e9:.2f}", f"{row.plain_bytes_per_s / 1e9:.2f}"),
                *(f"{row.plain_ratio:.0%}", f"{row.submit_s * 1e3:.2f}"),
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
