"""What `gpu` measures below the engine: the machine's peaks, steps beside their floor, swaps."""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor

from benchmarks.results import print_table
from engines.core.device import Batch, BlockRun, Direction, SequenceChunk
from engines.core.sampling_params import SamplingParams
from engines.core.settings import Copy, Layout
from engines.embedded.devices.copies import CPU_COPIES
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.model_steps import default_attention
from engines.embedded.devices.pinned_memory import PinnedMemory
from engines.embedded.devices.torch_device import TorchDevice

BLOCK_SIZE = 16
NUM_TOKENS = 1000
NUM_BLOCKS = 63  # of one context of so many tokens
BATCH_SIZES = (1, 32, 128)
NUM_REPEATS = 10  # of a step
Json = dict[str, Any]
T = TypeVar("T")


def with_device(decoder: Decoder, use: Callable[[TorchDevice], T], **settings: Any) -> T:
    """What `use` gives. On return the device is gone, and whatever held it has to be gone too, or
    the next one would stand beside it: there is not so much memory to pin."""
    device = TorchDevice(decoder, block_size=BLOCK_SIZE, **settings)
    reference = weakref.ref(device)
    try:
        result = use(device)
    finally:
        device.close()
        del device
        make_room(decoder.device)
    assert reference() is None, "the device is still referred to, and with it its pools"
    return result


def make_room(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def measure_peaks(device: torch.device) -> Json:
    """Bytes a second: copies within the device, read and written, and over the link."""
    is_cuda = device.type == "cuda"
    num_bytes = 2**31 if is_cuda else 2**26
    ours = torch.zeros(num_bytes, dtype=torch.uint8, device=device)
    other = torch.zeros_like(ours)
    pinned = PinnedMemory(num_bytes) if is_cuda else None
    host = pinned.values if pinned else torch.zeros(num_bytes, dtype=torch.uint8)
    peaks = {
        "memory_bytes_per_s": 2 * num_bytes / _copy_s(ours, other),
        "swap_in_bytes_per_s": num_bytes / _copy_s(host, ours),
        "swap_out_bytes_per_s": num_bytes / _copy_s(ours, host),
    }
    if pinned is not None:
        pinned.close()
    return peaks


def _copy_s(source: Tensor, target: Tensor) -> float:
    def copy() -> None:
        target.copy_(source, non_blocking=True)
        if "cuda" in (source.device.type, target.device.type):
            torch.cuda.synchronize()

    return statistics.median([_seconds(copy) for _ in range(5)][1:])


def _seconds(what: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    what()
    return time.perf_counter() - began_at


def compile_kernels(decoder: Decoder, max_graph_rows: int) -> None:
    """What the first device would pay for all others."""

    def use(device: TorchDevice) -> None:
        device.prepare()
        device.execute(Batch(chunks=[chunk([*range(NUM_BLOCKS)], NUM_TOKENS, 512)]))

    pools = {"num_device_blocks": NUM_BLOCKS, "num_host_blocks": 1, "copy": "merged"}
    with_device(decoder, use, **pools, max_graph_rows=max_graph_rows)


def ways_of_stepping(device: torch.device) -> dict[str, Json]:
    ways: dict[str, Json] = {"torch": {"attention": "torch"}}
    if default_attention(device) == "triton":
        ways["triton"] = {"attention": "triton"}
        ways["triton, graphs"] = {"attention": "triton", "max_graph_rows": BATCH_SIZES[-1]}
    return ways


def measure_steps(decoder: Decoder, way: str, peaks: Json, limit_s: float) -> list[Json]:
    """Decode steps of 1, 32 and 128 contexts of 1,000 tokens beside the time in which the memory
    could bring weights and KV, and 512 tokens of a prompt behind 488."""
    settings = ways_of_stepping(decoder.device)[way]
    num_blocks = BATCH_SIZES[-1] * NUM_BLOCKS
    blocks = random.Random(0).sample(range(num_blocks), num_blocks)

    def measure(device: TorchDevice) -> list[Json]:
        device.prepare()
        return [
            {
                "by": way,
                "step": name,
                **_step_s(device, batch, limit_s / (len(BATCH_SIZES) + 1)),
                "floor_s": _floor_s(device, decoder, num_contexts, peaks),
            }
            for name, num_contexts, batch in _batches(blocks)
        ]

    pools = {"num_device_blocks": num_blocks, "num_host_blocks": 1, "copy": "merged"}
    return with_device(decoder, measure, **pools, **settings)


def _batches(blocks: Sequence[int]) -> list[tuple[str, int | None, Batch]]:
    """By name, with the number of contexts that decode."""
    prompt = Batch(chunks=[chunk(blocks[:NUM_BLOCKS], NUM_TOKENS, 512)])
    return [
        *((f"decode {n}", n, decodes(n, blocks)) for n in BATCH_SIZES),
        ("prefill 512", None, prompt),
    ]


def _step_s(device: TorchDevice, batch: Batch, limit_s: float) -> Json:
    """A step gives token ids back, so it is through. Three warm up, where there is time."""
    ends_at = time.perf_counter() + limit_s
    times = []
    while len(times) < 3 + NUM_REPEATS and (not times or time.perf_counter() < ends_at):
        times.append(_seconds(lambda: device.execute(batch)))
    measured = times[3:] or times[-1:]
    return {"step_s": statistics.median(measured), "num_repeats": len(measured)}


def _floor_s(
    device: TorchDevice, decoder: Decoder, num_contexts: int | None, peaks: Json
) -> float | None:
    """None for a prompt: products hold it up, and not the memory."""
    if num_contexts is None:
        return None
    kv_bytes = num_contexts * NUM_TOKENS * device.bytes_per_block / BLOCK_SIZE
    seconds: float = (weight_bytes(decoder) + kv_bytes) / peaks["memory_bytes_per_s"]
    return seconds


def weight_bytes(decoder: Decoder) -> int:
    """What each step reads: all matrices; of the embedding only rows, unless it is the head."""
    weights = decoder.weights
    matrices = [weights.head]
    for layer in weights.layers:
        matrices += [layer.qkv, layer.output, layer.gate_up, layer.down]
    return sum(each.weight.numel() * each.weight.element_size() for each in matrices)


def decodes(num_contexts: int, blocks: Sequence[int]) -> Batch:
    tables = [blocks[i * NUM_BLOCKS : (i + 1) * NUM_BLOCKS] for i in range(num_contexts)]
    return Batch(chunks=[chunk(table, NUM_TOKENS) for table in tables])


def chunk(blocks: Sequence[int], num_context: int, num_rows: int = 1) -> SequenceChunk:
    return SequenceChunk(
        request_id="r",
        token_ids=[7] * num_rows,
        start=num_context - num_rows,
        block_table=blocks,
        sampling=SamplingParams(max_tokens=1),
        output_index=0,
    )


def show_steps(rows: Sequence[Json]) -> None:
    print_table(
        ["step, by", "ms", "floor ms", "times the floor"],
        [
            [
                f"{row['step']}, {row['by']}",
                f"{row['step_s'] * 1e3:.2f}",
                "-" if row["floor_s"] is None else f"{row['floor_s'] * 1e3:.2f}",
                "-" if row["floor_s"] is None else f"{row['step_s'] / row['floor_s']:.2f}",
            ]
            for row in rows
        ],
    )


def ways_of_swapping(device: torch.device) -> list[tuple[Layout, Copy]]:
    copies = get_args(Copy) if device.type == "cuda" else CPU_COPIES
    return list(itertools.product(get_args(Layout), copies))


def measure_swaps(decoder: Decoder, layout: Layout, copy: Copy, peaks: Json) -> list[Json]:
    """1,000 tokens out and in, with all blocks apart and in one run."""
    apart = [BlockRun(source=7 * i, target=5 * i, num_blocks=1) for i in range(NUM_BLOCKS)]
    one_run = [BlockRun(source=0, target=NUM_BLOCKS, num_blocks=NUM_BLOCKS)]

    def measure(device: TorchDevice) -> list[Json]:
        return [
            {
                "layout": layout,
                "copy": copy,
                "blocks": name,
                **_swaps(device, direction, runs, peaks),
            }
            for name, runs in (("apart", apart), ("one run", one_run))
            for direction in Direction
        ]

    pools = dict.fromkeys(("num_device_blocks", "num_host_blocks"), 8 * NUM_BLOCKS)
    return with_device(decoder, measure, **pools, copy=copy, layout=layout, num_copy_threads=1)


def _swaps(
    device: TorchDevice, direction: Direction, runs: Sequence[BlockRun], peaks: Json
) -> Json:
    swapped = [_swap(device, direction, runs) for _ in range(8)][2:]
    swap_s = statistics.median(each[0] for each in swapped)
    stats = swapped[0][2]
    bytes_per_s = stats.num_bytes / swap_s
    return {
        "direction": str(direction),
        "num_copies": stats.num_copies,
        "swap_s": swap_s,
        "submit_s": statistics.median(each[1] for each in swapped),
        "bytes_per_s": bytes_per_s,
        "peak_ratio": bytes_per_s / peaks[f"{direction}_bytes_per_s"],
    }


def _swap(device: TorchDevice, direction: Direction, runs: Sequence[BlockRun]) -> tuple[Any, ...]:
    """Seconds to completion and to the return of the asking call, and what moved."""
    began_at = time.perf_counter()
    transfer = device.transfer(direction, runs)
    submit_s = time.perf_counter() - began_at
    transfer.wait()
    return transfer.duration_s, submit_s, transfer.stats


def show_swaps(rows: Sequence[Json]) -> None:
    print_table(
        ["swap of 1,000 tokens", "copies", "ms", "submit ms", "GB/s", "of peak"],
        [
            [
                " ".join(row[key] for key in ("layout", "copy", "blocks", "direction")),
                row["num_copies"],
                f"{row['swap_s'] * 1e3:.2f}",
                f"{row['submit_s'] * 1e3:.2f}",
                f"{row['bytes_per_s'] / 1e9:.1f}",
                f"{row['peak_ratio']:.2f}",
            ]
            for row in rows
        ],
    )
