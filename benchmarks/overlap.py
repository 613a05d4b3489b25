"""Do copies and the model run at the same time, and what does the layout cost the model?

    python -m benchmarks.overlap

tiny-llama decodes 16 sequences of 512 tokens, and prefills one chunk behind a prefix, with no
copies under way; 500 MB are swapped out in one transfer with the model at rest; then both at once.
All cases in each round, in an order drawn anew; medians over rounds. The gain can be no more than
the cores this process was given while it did both, which stand beside it.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import get_args

import torch

from benchmarks.results import print_table, write_result
from engines.core.device import Batch, BlockRun, Direction, SequenceChunk, Transfer
from engines.core.sampling_params import SamplingParams
from engines.core.settings import Copy, Layout
from engines.embedded.devices.copies import CPU_COPIES
from engines.embedded.devices.loading import load_model
from engines.embedded.devices.torch_device import TorchDevice

BLOCK_SIZE = 16
NUM_SEQUENCES, NUM_TOKENS = 16, 512
TABLE_BLOCKS = NUM_TOKENS // BLOCK_SIZE
MODEL_BLOCKS = NUM_SEQUENCES * TABLE_BLOCKS
SWAP_BLOCKS = 4000  # behind the model's; 128 KiB each
RUN_BLOCKS = 16
GREEDY = SamplingParams(max_tokens=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    layout: Layout
    copy: Copy
    num_copy_threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    decode_s: float  # one step with no copies under way
    prefill_s: float
    copies_s: float  # the transfer, the model at rest
    both_decode_s: float  # one step while copies are under way
    both_copies_s: float
    both_cores: float  # CPU time of the process over wall time


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    layout: Layout
    copy: Copy
    num_copy_threads: int
    decode_s: float
    prefill_s: float
    copy_bytes_per_s: float
    decode_ratio: float  # time of a step with copies under way to one without
    copy_ratio: float  # bytes a second with the model running to those without
    num_cores: float  # CPU time over wall time, both at once
    gain_ratio: float  # both one after the other, over both at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="the model's own")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    samples, num_bytes = measure(given.rounds, random.Random(0))
    rows = [row_of(case, samples[case], num_bytes) for case in samples]
    show(rows)
    settings = {
        "num_rounds": given.rounds,
        "num_model_threads": given.threads,
        "transfer_bytes": num_bytes,
        "run_blocks": RUN_BLOCKS,
    }
    print(write_result("overlap", settings=settings, results=[asdict(row) for row in rows]))


def measure(num_rounds: int, rng: random.Random) -> tuple[dict[Case, list[Sample]], int]:
    decoder = load_model("tiny-llama", dtype="float32", seed=0).decoder
    grid = itertools.product(get_args(Layout), CPU_COPIES, (1, 2))
    devices = {
        Case(layout=layout, copy=copy, num_copy_threads=num_threads): TorchDevice(
            decoder,
            block_size=BLOCK_SIZE,
            num_device_blocks=MODEL_BLOCKS + SWAP_BLOCKS,
            num_host_blocks=SWAP_BLOCKS,
            copy=copy,
            layout=layout,
            num_copy_threads=num_threads,
        )
        for layout, copy, num_threads in grid
    }
    samples: dict[Case, list[Sample]] = {case: [] for case in devices}
    order = list(devices)
    for is_kept in [False] + [True] * num_rounds:  # the first round touches all memory
        rng.shuffle(order)
        for case in order:
            sample = sample_of(devices[case], rng)
            if is_kept:
                samples[case].append(sample)
    num_bytes = SWAP_BLOCKS * next(iter(devices.values())).bytes_per_block
    for device in devices.values():
        device.close()
    return samples, num_bytes


def sample_of(device: TorchDevice, rng: random.Random) -> Sample:
    blocks = rng.sample(range(MODEL_BLOCKS), MODEL_BLOCKS)
    tables = [blocks[i::NUM_SEQUENCES] for i in range(NUM_SEQUENCES)]
    decodes = Batch(chunks=[chunk_of(table, 1) for table in tables])
    prefill = Batch(chunks=[chunk_of(tables[0], NUM_TOKENS // 2)])
    decode_s = statistics.median(timed(device, decodes) for _ in range(10))
    prefill_s = statistics.median(timed(device, prefill) for _ in range(3))
    transfer = start_transfer(device, rng)
    transfer.wait()
    copies_s = transfer.duration_s
    began_at, cpu_began_at = time.perf_counter(), time.process_time()
    transfer = start_transfer(device, rng)
    steps = []
    while not transfer.is_done():
        steps.append(timed(device, decodes))
    both_cores = (time.process_time() - cpu_began_at) / (time.perf_counter() - began_at)
    return Sample(
        decode_s=decode_s,
        prefill_s=prefill_s,
        copies_s=copies_s,
        both_decode_s=statistics.mean(steps[:-1] or steps),  # the last may have run on alone
        both_copies_s=transfer.duration_s,
        both_cores=both_cores,
    )


def chunk_of(table: Sequence[int], num_tokens: int) -> SequenceChunk:
    """Returns a chunk of the last tokens of a full block table."""
    return SequenceChunk(
        request_id="r",
        token_ids=[1] * num_tokens,
        start=NUM_TOKENS - num_tokens,
        block_table=table,
        sampling=GREEDY,
        output_index=0,
    )


def timed(device: TorchDevice, batch: Batch) -> float:
    began_at = time.perf_counter()
    device.execute(batch)
    return time.perf_counter() - began_at


def start_transfer(device: TorchDevice, rng: random.Random) -> Transfer:
    sources = range(MODEL_BLOCKS, MODEL_BLOCKS + SWAP_BLOCKS, RUN_BLOCKS)
    targets = rng.sample(range(0, SWAP_BLOCKS, RUN_BLOCKS), len(sources))
    return device.transfer(
        Direction.SWAP_OUT,
        [
            BlockRun(source=source, target=target, num_blocks=RUN_BLOCKS)
            for source, target in zip(sources, targets, strict=True)
        ],
    )


def row_of(case: Case, samples: Sequence[Sample], num_bytes: int) -> Row:
    return Row(
        **asdict(case),
        decode_s=statistics.median(s.decode_s for s in samples),
        prefill_s=statistics.median(s.prefill_s for s in samples),
        copy_bytes_per_s=statistics.median(num_bytes / s.copies_s for s in samples),
        decode_ratio=statistics.median(s.both_decode_s / s.decode_s for s in samples),
        copy_ratio=statistics.median(s.copies_s / s.both_copies_s for s in samples),
        num_cores=statistics.median(s.both_cores for s in samples),
        gain_ratio=statistics.median(gain_of(s) for s in samples),
    )


def gain_of(sample: Sample) -> float:
    """The steps that fitted beside the transfer would have taken their time alone."""
    num_steps = sample.both_copies_s / sample.both_decode_s
    return (sample.copies_s + num_steps * sample.decode_s) / sample.both_copies_s


def show(rows: Sequence[Row]) -> None:
    print("alone: decode, prefill, copies; both at once: time of a step, speed of copies, gain")
    print_table(
        [
            "case",
            "copy threads",
            "decode ms",
            "prefill ms",
            "GB/s",
            "step",
            "copies",
            "cores",
            "gain",
        ],
        [
            (
                *(f"{row.layout} {row.copy}", row.num_copy_threads, f"{row.decode_s * 1e3:.1f}"),
                *(f"{row.prefill_s * 1e3:.1f}", f"{row.copy_bytes_per_s / 1e9:.2f}"),
                *(f"{row.decode_ratio:.2f}x", f"{row.copy_ratio:.2f}x", f"{row.num_cores:.2f}"),
                f"{row.gain_ratio:.2f}x",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
