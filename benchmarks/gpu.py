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
import heapq
import itertools
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks.results import print_table, write_result
from engines.api import PriorityUpdates
from engines.fastswitch.device import Batch, BlockRun, Device, Direction, SequenceChunk
from engines.fastswitch.devices.model import Decoder
from engines.fastswitch.devices.model_config import PRESETS as MODELS
from engines.fastswitch.devices.torch_device import TorchDevice
from engines.fastswitch.devices.weights import RandomTensors, assemble
from engines.fastswitch.engine import Engine
from engines.fastswitch.request import Request, SamplingParams
from engines.fastswitch.settings import PRESETS, Copy, CoreSettings, Layout
from engines.fastswitch.step_log import StepRecord
from suite.statistics import summarise
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.spec import WorkloadSpec

BASELINE = "vllm-0.3"
BLOCK_SIZE = 16
SWAP_BLOCKS = 63  # 1,000 tokens
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
THINK_TIME = {"distribution": "lognormal", "median": "1s", "sigma": 0.5, "max": "3s"}
Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Asked:
    """A turn on its way."""

    conversation: int
    turn: int
    due_at: float
    request: Request
    token_at: list[float] = field(default_factory=list)


class Player:
    """One plan through one engine, from the first arrival to the last token or the limit."""

    def __init__(self, plan: Plan, core: CoreSettings, device: Device) -> None:
        self.steps: list[StepRecord] = []
        self.turns: list[Asked] = []  # every turn that came due
        self._plan = plan
        self._engine = Engine(
            core,
            device,
            clock=time.monotonic,
            priorities=_priority_updates(plan),
            on_step=self.steps.append,
        )
        self._due = [(each.start_at_s, k, 0) for k, each in enumerate(plan.conversations)]
        heapq.heapify(self._due)
        self._histories: list[list[int]] = [[] for _ in plan.conversations]
        self._asked: dict[str, Asked] = {}
        self.began_at = self.ended_at = 0.0

    @property
    def num_unfinished(self) -> int:
        num_turns = sum(len(each.turns) for each in self._plan.conversations)
        return num_turns - (len(self.turns) - len(self._asked))

    def play(self, limit_s: float) -> None:
        self.began_at = time.monotonic()
        while self._due or self._engine.has_work:
            now_s = time.monotonic() - self.began_at
            if now_s > limit_s:
                break
            while self._due and self._due[0][0] <= now_s:
                self._ask(*heapq.heappop(self._due))
            if self._engine.has_work:
                self._step()
            else:
                self._engine.poll()
                time.sleep(min(0.001, max(0.0, self._due[0][0] - now_s)))
        self.ended_at = time.monotonic()
        for name in list(self._asked):
            self._engine.abort(name)
        while self._engine.has_flights:
            self._engine.poll()

    def _ask(self, due_s: float, k: int, turn_number: int) -> None:
        conversation = self._plan.conversations[k]
        turn = conversation.turns[turn_number]
        request = Request(
            request_id=f"{conversation.conversation_id}/{turn_number}",
            prompt_token_ids=self._histories[k] + turn.new_prompt_token_ids.tolist(),
            sampling=SamplingParams(max_tokens=turn.num_output_tokens, ignore_eos=True),
            arrived_at=self.began_at + due_s,
            conversation_id=conversation.conversation_id,
        )
        asked = Asked(
            conversation=k, turn=turn_number, due_at=self.began_at + due_s, request=request
        )
        self._asked[request.request_id] = asked
        self.turns.append(asked)
        self._engine.submit(request)

    def _step(self) -> None:
        outputs = self._engine.step()
        now = time.monotonic()
        for output in outputs:
            asked = self._asked[output.request_id]
            asked.token_at.append(now)
            if output.finish_reason is not None:
                del self._asked[output.request_id]
                self._follow(asked, now)

    def _follow(self, asked: Asked, now: float) -> None:
        turns = self._plan.conversations[asked.conversation].turns
        following = asked.turn + 1
        if following < len(turns):
            request = asked.request
            self._histories[asked.conversation] = (
                request.prompt_token_ids + request.output_token_ids
            )
            due_s = now - self.began_at + turns[following].think_time_s
            heapq.heappush(self._due, (due_s, asked.conversation, following))


def _priority_updates(plan: Plan) -> PriorityUpdates:
    assert plan.priorities is not None
    return PriorityUpdates(
        update_frequency=plan.priorities.update_frequency,
        conversation_ids=[each.conversation_id for each in plan.conversations],
        levels=plan.priorities.levels,
    )


def numbers(player: Player) -> Json:
    first = [(t.token_at[0] if t.token_at else player.ended_at) - t.due_at for t in player.turns]
    gaps = [b - a for t in player.turns for a, b in itertools.pairwise(t.token_at)]
    ttft, tbt = summarise(np.array(first)), summarise(np.array(gaps))
    steps = player.steps
    duration_s = player.ended_at - player.began_at
    num_runs = sum(step.num_copy_runs for step in steps)
    num_blocks = sum(step.num_swap_out_blocks + step.num_swap_in_blocks for step in steps)
    return {
        "duration_s": duration_s,
        "num_turns": len(player.turns),
        "num_unfinished_turns": player.num_unfinished,
        **{f"ttft_{name}_s": value for name, value in ttft.percentiles.items()},
        "ttft_max_s": ttft.maximum,
        **{f"tbt_{name}_s": value for name, value in tbt.percentiles.items()},
        "tbt_max_s": tbt.maximum,
        "output_tokens_per_s": sum(len(turn.token_at) for turn in player.turns) / duration_s,
        "num_preemptions": sum(step.num_preemptions for step in steps),
        "num_recompute_preemptions": sum(step.num_recompute_preemptions for step in steps),
        "num_swapped_blocks": num_blocks,
        "blocks_per_run": num_blocks / num_runs if num_runs else None,
        "stall_ratio": sum(step.stall_s for step in steps) / duration_s,
        "bookkeeping_ratio": sum(step.bookkeeping_s for step in steps) / duration_s,
        "execute_ratio": sum(step.execute_s for step in steps) / duration_s,
        "mean_step_s": duration_s / len(steps),
        "mean_num_running": sum(step.num_running for step in steps) / len(steps),
    }


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
