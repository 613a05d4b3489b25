"""Every preset on a CUDA device: one plan through the engine core, on the wall clock.

    benchmarks/gpu.sh                          # the CUDA tests, then this; one command, no network
    python -m benchmarks.gpu --model tiny-llama --device cpu --quick     # a dry run

Random weights in the shape of Llama-3-8B, bfloat16; a KV pool of 32,768 tokens, as an A10 has
beside that model (on a larger GPU nothing would ever be preempted otherwise), ten times that in
pinned host memory. No server and no sockets: the engine core is stepped in this process, arrivals
and think times follow the wall clock. What is measured, in this order:

    peaks     what memory and link give, by plain copies
    presets   TTFT, TBT, tokens/s, preemptions and stalls; ratios to vllm-0.3, above 1 is better;
              the three that matter most, the others behind what follows
    steps     median time of a decode step of 1, 32 and 128 contexts of 1,000 tokens beside its
              floor (weights and KV over the memory's peak), by graphs, by our kernels, by torch's
    swaps     1,000 tokens out and in, for each layout and way of copying, once with all blocks
              apart and once in one run: time to completion beside the link's peak, and to the
              return of the asking call

All of it ends within --total-s: each stage has its share, which is shown first, and what no time is
left for is left out and named. The result is written after each stage, so that what a killed run
has measured is there; a stage that fails is reported, and the next one begins.

A preset gets at most --limit-s seconds; what is unfinished then is counted, and its waiting so far
stands in TTFT, so that giving up late turns does not make a tail look better. One plan, one run
each unless --repeats says more (then interleaved): a P99.9 of TTFT rests on few turns.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts import (
    BLOCK_SIZE,
    chunk,
    compile_kernels,
    make_room,
    measure_peaks,
    measure_steps,
    measure_swaps,
    show_steps,
    show_swaps,
    ways_of_stepping,
    ways_of_swapping,
    with_device,
)
from benchmarks.results import DIRECTORY, print_table, write_result
from benchmarks.time_plan import Stage, TimePlan
from benchmarks.wall_clock import Player, numbers
from engines.core.device import Batch
from engines.core.settings import PRESETS, CoreSettings
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.torch_device import TorchDevice
from engines.embedded.devices.weights import RandomTensors, assemble
from engines.models.model_config import PRESETS as MODELS
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.spec import WorkloadSpec

BASELINE = "vllm-0.3"
# Ours, what it is measured by, and the design without a swap.
MOST_IMPORTANT = ("fastswitch", BASELINE, "recompute-prefix")
MAX_NUM_SEQS = 256
SET_UP_S = 8.0  # of a preset's device: pools, pinning, graphs
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
THINK_TIME = {"distribution": "lognormal", "median": "1s", "sigma": 0.5, "max": "3s"}
SHOWN = ("ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "tbt_p50_s", "tbt_p99_s", "tbt_p999_s")
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


def play_preset(
    preset: str, plan: Plan, decoder: Decoder, args: argparse.Namespace, limit_s: float
) -> Json:
    core = CoreSettings(
        mechanisms=PRESETS[preset],
        block_size=BLOCK_SIZE,
        kv_tokens=args.kv_tokens,
        swap_tokens=args.kv_tokens * args.host_ratio,
        max_batch_tokens=512,
        max_num_seqs=MAX_NUM_SEQS,
    )
    mechanisms = core.mechanisms

    def play(device: TorchDevice) -> Json:
        device.prepare()
        device.execute(Batch(chunks=[chunk([*range(32)], 512, 512)]))  # lazy set-up
        player = Player(plan, core, device)
        player.play(limit_s)
        return {"preset": preset, "limit_s": limit_s, **numbers(player)}

    return with_device(
        decoder,
        play,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        copy=mechanisms.copy,
        layout=mechanisms.layout,
        num_copy_threads=0 if mechanisms.swap == "sync" else 2,
        max_graph_rows=core.max_num_seqs if args.graphs else 0,
    )


def show_presets(rows: Sequence[Json]) -> None:
    base: Json = next((row for row in rows if row["preset"] == BASELINE), {})
    print_table(
        ["preset", *SHOWN, "tokens/s", "preempted", "blocks/run", "stall", "unfinished"],
        [
            [
                row["preset"],
                *(_latency(row[key], base.get(key)) for key in SHOWN),
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
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if base is None else f" {base / value:.2f}x")


class Measurement:
    """Goes through the stages, and writes what there is after each."""

    def __init__(self, args: argparse.Namespace, *, clock: Callable[[], float] = time.monotonic):
        self.args = args
        self.failures: list[str] = []
        self.results: Json = {"peaks": {}, "steps": [], "swaps": [], "presets": []}
        self._device = torch.device(args.device)
        self._decoder: Decoder | None = None
        self._plan = plan_of(args)
        self.stages = dict(self._stages())
        self.time_plan = TimePlan([*self.stages], total_s=args.total_s, clock=clock)

    def run(self) -> None:
        self.time_plan.show()
        for stage, measure in self.stages.items():
            limit_s = self.time_plan.limit_s(stage)
            if limit_s is None:
                continue
            try:
                measure(limit_s)
            except Exception as error:  # whatever it is, the others may still tell something
                traceback.print_exc()
                print(f"{stage.name} failed: {error}", flush=True)
                self.failures.append(f"{stage.name}: {error}")
                del error
                make_room(self._device)
            print(f"{self.time_plan.passed_s:.0f} s: {stage.name} has ended", flush=True)
            self._write()
        self._write()
        show_steps(self.results["steps"])
        show_swaps(self.results["swaps"])
        if self.results["presets"]:
            show_presets(self.results["presets"])
        print(f"{self.time_plan.passed_s:.0f} s in all", flush=True)

    def _stages(self) -> Iterator[tuple[Stage, Callable[[float], None]]]:
        """In the order of their worth."""
        quick = 0.2 if self.args.quick else 1.0
        yield Stage(name="peaks, weights, kernels", at_most_s=60 * quick), self._prepare
        presets = [
            (preset, repeat) for repeat in range(1, self.args.repeats + 1) for preset in PRESETS
        ]
        first = [each for each in presets if each[0] in MOST_IMPORTANT]
        first.sort(key=lambda each: (each[1], MOST_IMPORTANT.index(each[0])))
        yield from map(self._preset_stage, first)
        yield Stage(name="steps", at_most_s=60 * quick), self._measure_steps
        yield Stage(name="swaps", at_most_s=48 * quick), self._measure_swaps
        yield from map(self._preset_stage, [each for each in presets if each not in first])

    def _preset_stage(self, each: tuple[str, int]) -> tuple[Stage, Callable[[float], None]]:
        preset, repeat = each
        set_up_s = min(SET_UP_S, self.args.limit_s)

        def measure(limit_s: float) -> None:
            limit_s = max(1.0, limit_s - set_up_s)
            row = play_preset(preset, self._plan, self._loaded, self.args, limit_s)
            self.results["presets"].append(row | {"repeat": repeat})

        name = preset if self.args.repeats == 1 else f"{preset} {repeat}"
        return Stage(name=name, at_most_s=self.args.limit_s + set_up_s), measure

    @property
    def _loaded(self) -> Decoder:
        assert self._decoder is not None, "there are no weights"
        return self._decoder

    def _prepare(self, limit_s: float) -> None:
        self.results["peaks"] = measure_peaks(self._device)
        make_room(self._device)
        print(self.results["peaks"], flush=True)
        config = MODELS[self.args.model]
        weights = assemble(
            RandomTensors(config, 0, self._device),
            config,
            dtype=DTYPES[self.args.dtype],
            device=self._device,
        )
        self._decoder = Decoder(config, weights)
        compile_kernels(self._decoder, MAX_NUM_SEQS if self.args.graphs else 0)

    def _measure_steps(self, limit_s: float) -> None:
        ways = list(reversed(ways_of_stepping(self._device)))  # what the presets use first
        for way in self._in_time(ways, limit_s):
            rows = measure_steps(self._loaded, way, self.results["peaks"], limit_s / len(ways))
            self.results["steps"] += rows

    def _measure_swaps(self, limit_s: float) -> None:
        for layout, copy in self._in_time(ways_of_swapping(self._device), limit_s):
            rows = measure_swaps(self._loaded, layout, copy, self.results["peaks"])
            self.results["swaps"] += rows

    def _in_time(self, ways: Sequence[Any], limit_s: float) -> Iterator[Any]:
        """As many as there is time for; which are not is said."""
        ends_at_s = self.time_plan.passed_s + limit_s
        for number, way in enumerate(ways):
            if self.time_plan.passed_s > ends_at_s:
                left_out = [str(each) for each in ways[number:]]
                self.time_plan.skipped += left_out
                print(f"left out, for no time is left: {', '.join(left_out)}", flush=True)
                return
            yield way

    def _write(self) -> None:
        if self.args.quick and self.args.out is None:
            return
        found = {"failures": self.failures, "left_out": self.time_plan.skipped}
        path = write_result(
            "gpu",
            settings=_settings(self.args, self._device),
            results=self.results | found,
            folder=self.args.out or DIRECTORY,
        )
        print(path, flush=True)


def _settings(args: argparse.Namespace, device: torch.device) -> Json:
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    shown = {name: value for name, value in vars(args).items() if name != "out"}
    return shown | {"gpu": gpu, "cuda": torch.version.cuda}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="llama-3-8b", choices=[*MODELS])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=[*DTYPES])
    parser.add_argument("--kv-tokens", type=int, default=32_768)
    parser.add_argument("--host-ratio", type=int, default=10)
    parser.add_argument("--conversations", type=int, default=80)
    parser.add_argument("--rate", type=float, default=10.0, help="conversations per second")
    parser.add_argument("--length-scale", type=float, default=1.0)
    parser.add_argument("--limit-s", type=float, default=24.0, help="of one preset, at most")
    parser.add_argument("--total-s", type=float, default=425.0, help="of everything, at most")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-graphs", dest="graphs", action="store_false", help="decode eagerly")
    parser.add_argument("--out", type=Path, help="folder of the result; benchmarks/results")
    parser.add_argument(
        "--quick", action="store_true", help="a dry run: tiny sizes, no result unless --out"
    )
    args = parser.parse_args(given)
    if args.quick:
        args.kv_tokens, args.conversations, args.length_scale, args.limit_s = 512, 6, 0.1, 5.0
        args.dtype, args.total_s = "float32", min(args.total_s, 120.0)
    return args


def main() -> int:
    measurement = Measurement(arguments())
    measurement.run()
    for failure in measurement.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if measurement.failures else 0


if __name__ == "__main__":
    sys.exit(main())
