"""Every preset on a CUDA device: one plan through the engine core, on the wall clock.

    benchmarks/gpu.sh                          # tests/gpu, then this; one command, no network
    python -m benchmarks.gpu --model tiny-llama --device cpu --quick     # a dry run

Random weights in the shape of Llama-3-8B, bfloat16; a KV pool of 32,768 tokens, as an A10 has
beside that model (on a larger GPU nothing would ever be preempted otherwise), ten times that in
pinned host memory. No server and no sockets: the engine core is stepped in this process, arrivals
and think times follow the wall clock. What is measured:

    step      median time of a decode step at 1, 8 and 32 contexts of 1,000 tokens
    swap      1,000 tokens out and in, for each layout and way of copying, once with all blocks
              apart and once in one run: time to completion, and to the return of the asking call
    presets   TTFT, TBT, tokens/s, preemptions and stalls; ratios to vllm-0.3, above 1 is better

A preset gets at most --limit-s seconds; what is unfinished then is counted, and its waiting so far
stands in TTFT, so that giving up late turns does not make a tail look better. One plan, one run
each unless --repeats says more (then interleaved): a P99.9 of TTFT rests on few turns.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.results import print_table, write_result
from benchmarks.wall_clock import Player, numbers
from engines.core.device import Batch, BlockRun, Direction, SequenceChunk
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, Copy, CoreSettings, Layout
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.torch_device import TorchDevice
from engines.embedded.devices.weights import RandomTensors, assemble
from engines.models.model_config import PRESETS as MODELS
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.spec import WorkloadSpec

BASELINE = "vllm-0.3"
BLOCK_SIZE = 16
SWAP_BLOCKS = 63  # 1,000 tokens
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
THINK_TIME = {"distribution": "lognormal", "median": "1s", "sigma": 0.5, "max": "3s"}
Json = dict[str, Any]


def plan_of(args: argparse.Namespace) -> Plan:
    """ShareGPT-like conversations that come faster than they are answered; random priorities."""
    spec = {
        "name": "gpu",
        "seed": 7,
        "conversations": {
            "source": "sharegpt-like",
            "count": args.conversations,
            "max_context_tokens": min(4096, args.kv_tokens // 2),
            "max_turns": 3,
            "length_scale": args.length_scale,
        },
        "arrivals": {"process": "poisson", "rate": args.rate},
        "think_time": THINK_TIME,
        "users": {"all": {"share": 1.0, "slo": {"ttft": "2s", "tbt": "500ms", "attainment": 0.9}}},
        "priorities": {"pattern": "random", "levels": 8, "update_frequency": 0.04},
        "engines": {"any": {"kind": "fastswitch"}},
    }
    return build_plan(WorkloadSpec.model_validate(spec), Path.cwd())


def play_preset(preset: str, plan: Plan, decoder: Decoder, args: argparse.Namespace) -> Json:
    core = CoreSettings(
        mechanisms=PRESETS[preset],
        block_size=BLOCK_SIZE,
        kv_tokens=args.kv_tokens,
        swap_tokens=args.kv_tokens * args.host_ratio,
        max_batch_tokens=512,
        max_num_seqs=256,
    )
    mechanisms = core.mechanisms
    device = TorchDevice(
        decoder,
        block_size=BLOCK_SIZE,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        copy=mechanisms.copy,
        layout=mechanisms.layout,
        num_copy_threads=0 if mechanisms.swap == "sync" else 2,
    )
    try:
        device.execute(Batch(chunks=[_chunk([*range(33)], 512, 512)]))  # lazy set-up
        player = Player(plan, core, device)
        player.play(args.limit_s)
        return {"preset": preset, **numbers(player)}
    finally:
        device.close()
        del device
        gc.collect()  # the pools, before the next preset asks for its own


def _chunk(blocks: Sequence[int], num_context: int, num_rows: int = 1) -> SequenceChunk:
    return SequenceChunk(
        request_id="r",
        token_ids=[7] * num_rows,
        start=num_context - num_rows,
        block_table=blocks,
        sampling=SamplingParams(max_tokens=1),
        output_index=0,
    )


def measure_steps(decoder: Decoder) -> list[Json]:
    num_blocks = 32 * SWAP_BLOCKS
    device = TorchDevice(
        decoder,
        block_size=BLOCK_SIZE,
        num_device_blocks=num_blocks,
        num_host_blocks=1,
        copy="merged",
    )
    blocks = random.Random(0).sample(range(num_blocks), num_blocks)
    rows = []
    for size in (1, 8, 32):
        tables = [blocks[i * SWAP_BLOCKS : (i + 1) * SWAP_BLOCKS] for i in range(size)]
        batch = Batch(chunks=[_chunk(table, 1000) for table in tables])
        times = [_seconds(device, batch) for _ in range(13)][3:]
        rows.append({"num_requests": size, "decode_step_s": statistics.median(times)})
    prefill = Batch(chunks=[_chunk(blocks[:SWAP_BLOCKS], 1000, 512)])
    times = [_seconds(device, prefill) for _ in range(8)][3:]
    rows.append({"num_prefill_tokens": 512, "prefill_step_s": statistics.median(times)})
    device.close()
    return rows


def _seconds(device: TorchDevice, batch: Batch) -> float:
    began_at = time.perf_counter()
    device.execute(batch)  # gives token ids back, so it is through
    return time.perf_counter() - began_at


def measure_swaps(decoder: Decoder) -> list[Json]:
    rows = []
    for layout, copy in itertools.product(get_args(Layout), get_args(Copy)):
        rows += _swaps(decoder, layout, copy)
    return rows


def _swaps(decoder: Decoder, layout: Layout, copy: Copy) -> list[Json]:
    num_blocks = 8 * SWAP_BLOCKS
    device = TorchDevice(
        decoder,
        block_size=BLOCK_SIZE,
        num_device_blocks=num_blocks,
        num_host_blocks=num_blocks,
        copy=copy,
        layout=layout,
        num_copy_threads=1,
    )
    apart = [BlockRun(source=7 * i, target=5 * i, num_blocks=1) for i in range(SWAP_BLOCKS)]
    rows = []
    for name, runs in (
        ("apart", apart),
        ("one run", [BlockRun(source=0, target=SWAP_BLOCKS, num_blocks=SWAP_BLOCKS)]),
    ):
        for direction in Direction:
            times, submits = [], []
            for _ in range(8):
                began_at = time.perf_counter()
                transfer = device.transfer(direction, runs)
                submits.append(time.perf_counter() - began_at)
                transfer.wait()
                times.append(transfer.duration_s)
            swap_s = statistics.median(times[2:])
            rows.append(
                {
                    "layout": layout,
                    "copy": copy,
                    "blocks": name,
                    "direction": str(direction),
                    "num_copies": transfer.stats.num_copies,
                    "swap_s": swap_s,
                    "submit_s": statistics.median(submits[2:]),
                    "bytes_per_s": transfer.stats.num_bytes / swap_s,
                }
            )
    device.close()
    return rows


def show_swaps(rows: Sequence[Json]) -> None:
    print_table(
        ["swap of 1,000 tokens", "copies", "ms", "submit ms", "GB/s"],
        [
            [
                " ".join(row[key] for key in ("layout", "copy", "blocks", "direction")),
                row["num_copies"],
                f"{row['swap_s'] * 1e3:.2f}",
                f"{row['submit_s'] * 1e3:.2f}",
                f"{row['bytes_per_s'] / 1e9:.1f}",
            ]
            for row in rows
        ],
    )


SHOWN = ("ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "tbt_p50_s", "tbt_p99_s", "tbt_p999_s")


def show_presets(rows: Sequence[Json]) -> None:
    base = next(row for row in rows if row["preset"] == BASELINE)
    print_table(
        ["preset", *SHOWN, "tokens/s", "preempted", "blocks/run", "stall", "unfinished"],
        [
            [
                row["preset"],
                *(_latency(row[key], base[key]) for key in SHOWN),
                f"{row['output_tokens_per_s']:.0f}",
                row["num_preemptions"],
                "-" if row["blocks_per_run"] is None else f"{row['blocks_per_run']:.1f}",
                f"{row['stall_ratio']:.2f}",
                row["num_unfinished_turns"],
            ]
            for row in rows
        ],
    )


def _latency(value: float | None, base: float | None) -> str:
    if value is None or base is None:
        return "-"
    return f"{value:.3f} {base / value:.2f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="llama-3-8b", choices=[*MODELS])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=[*DTYPES])
    parser.add_argument("--kv-tokens", type=int, default=32_768)
    parser.add_argument("--host-ratio", type=int, default=10)
    parser.add_argument("--conversations", type=int, default=80)
    parser.add_argument("--rate", type=float, default=10.0, help="conversations per second")
    parser.add_argument("--length-scale", type=float, default=1.0)
    parser.add_argument("--limit-s", type=float, default=45.0, help="of one preset, at most")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument(
        "--quick", action="store_true", help="a dry run: tiny sizes, no result file"
    )
    args = parser.parse_args()
    if args.quick:
        args.kv_tokens, args.conversations, args.length_scale, args.limit_s = 512, 6, 0.1, 5.0
        args.dtype = "float32"
    device = torch.device(args.device)
    config = MODELS[args.model]
    weights = assemble(
        RandomTensors(config, 0, device), config, dtype=DTYPES[args.dtype], device=device
    )
    decoder = Decoder(config, weights)
    steps = measure_steps(decoder)
    print(steps, flush=True)
    swaps = measure_swaps(decoder)
    show_swaps(swaps)
    plan = plan_of(args)
    rows = [
        play_preset(preset, plan, decoder, args) | {"repeat": repeat}
        for repeat in range(1, args.repeats + 1)
        for preset in PRESETS
    ]
    show_presets(rows)
    results = {"steps": steps, "swaps": swaps, "presets": rows}
    if not args.quick:
        print(write_result("gpu", settings=_settings(args, device), results=results))


def _settings(args: argparse.Namespace, device: torch.device) -> Json:
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return vars(args) | {"gpu": gpu, "cuda": torch.version.cuda}


if __name__ == "__main__":
    main()
