"""Plain throughput beside a real vLLM: first come first served, room for everybody, 1 / 8 / 32 at a
time.

    make vllm && python -m benchmarks.vllm_throughput [--repeats N] [--compiled]

The same weights in float32 and one thread for the model on both sides; 256 random prompt tokens,
128 answer tokens. The embedded engine has two arms: blocks as vLLM hands them out, and block
groups, each large enough for a whole context. Engines take turns, each is started once a repeat;
medians over repeats are kept. `--compiled` adds vLLM with torch.compile, whose start-up takes
minutes. Tokens per second are those of the window from the first sending to the last byte;
latencies are the driver's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import print_table, write_result
from engines.api import EngineSettings, RunningEngine
from engines.registry import settings_of_kind
from suite.driver.play import Drive, play
from suite.playing.workload import engine_settings
from suite.records.turn_records import TurnRecord, read_turns
from workloads.build import build_plan
from workloads.spec import WorkloadSpec

MODEL = "tiny-llama"
PROMPT_TOKENS, OUTPUT_TOKENS = 256, 128
NUM_REQUESTS = {1: 4, 8: 24, 32: 64}  # by how many at a time
COMMON = {"model": MODEL, "kv_tokens": 16384, "max_batch_tokens": 2048, "max_num_seqs": 32}
FASTSWITCH = {**COMMON, "block_size": 32, "policy": "fcfs"}
PAGED = {**FASTSWITCH, "preset": "recompute-prefix"}
GROUPS = {
    **FASTSWITCH,
    "preset": "fastswitch",
    "swap_tokens": COMMON["kv_tokens"],
    "group_tokens": PROMPT_TOKENS + OUTPUT_TOKENS,
}
VLLM = {**COMMON, "scheduling": "fcfs", "prefix_caching": False}
ENGINES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "embedded paged": ("fastswitch", PAGED),
    "embedded groups": ("fastswitch", GROUPS),
    "vllm eager": ("vllm", {**VLLM, "args": {"enforce-eager": True}}),
}
COMPILED: Mapping[str, tuple[str, Mapping[str, Any]]] = {"vllm compiled": ("vllm", VLLM)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    engine: str
    version: str | None
    num_at_a_time: int
    output_tokens_per_s: float
    ttft_p50_s: float
    tbt_p50_s: float
    tbt_p99_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compiled", action="store_true")
    given = parser.parse_args()
    engines = {**ENGINES, **(COMPILED if given.compiled else {})}
    measured: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(given.repeats):
            for name, (kind, entry) in engines.items():
                settings = engine_settings(settings_of_kind(kind), dict(entry), ())
                directory = Path(scratch) / f"{name}-{repeat}"
                measured += measure(name, settings, directory)
    results = [median(group) for group in grouped(measured)]
    show(results)
    write_result(
        "vllm_throughput",
        settings={
            "repeats": given.repeats,
            "prompt_tokens": PROMPT_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
            "num_requests": NUM_REQUESTS,
            "engines": {name: dict(entry) for name, (_, entry) in engines.items()},
        },
        results=[asdict(result) for result in results],
    )


def measure(name: str, settings: EngineSettings, directory: Path) -> list[Result]:
    directory.mkdir(parents=True)
    with settings.running(name=name, directory=directory, priorities=None) as engine:
        return [play_closed(name, engine, directory, number) for number in NUM_REQUESTS]


def play_closed(name: str, engine: RunningEngine, directory: Path, num_at_a_time: int) -> Result:
    plan = build_plan(_spec(num_at_a_time), Path())
    plan_path = directory / f"plan-{num_at_a_time}.parquet"
    plan.write(plan_path)
    part = directory / str(num_at_a_time)
    outcome = play(
        Drive(plan_path=plan_path, endpoint=engine.endpoint, directory=part, turn_timeout_s=300.0)
    )
    if outcome.counts.recorded < outcome.counts.planned or outcome.counts.failed:
        raise SystemExit(f"{name}: turns failed or were lost: {outcome.counts}")
    return summarise(name, engine.version, num_at_a_time, read_turns(part / "turns.parquet"))


def summarise(
    name: str, version: str | None, num_at_a_time: int, turns: Sequence[TurnRecord]
) -> Result:
    sent = [turn.sent_at for turn in turns if turn.sent_at is not None]
    done = [turn.done_at for turn in turns if turn.done_at is not None]
    num_tokens = sum(turn.num_output_tokens or 0 for turn in turns)
    ttft = [turn.token_at[0] - at for turn, at in zip(turns, sent, strict=True)]
    gaps = np.concatenate([np.diff(turn.token_at) for turn in turns])
    return Result(
        engine=name,
        version=version,
        num_at_a_time=num_at_a_time,
        output_tokens_per_s=num_tokens / (max(done) - min(sent)),
        ttft_p50_s=statistics.median(ttft),
        tbt_p50_s=float(np.quantile(gaps, 0.5)),
        tbt_p99_s=float(np.quantile(gaps, 0.99)),
    )


def grouped(measured: Sequence[Result]) -> list[list[Result]]:
    """Groups the repeats of one engine at one concurrency."""
    groups: dict[tuple[int, str], list[Result]] = {}
    for result in measured:
        groups.setdefault((result.num_at_a_time, result.engine), []).append(result)
    return [groups[key] for key in sorted(groups)]


def median(repeats: Sequence[Result]) -> Result:
    def of(field: str) -> float:
        return float(statistics.median(getattr(result, field) for result in repeats))

    first = repeats[0]
    return Result(
        engine=first.engine,
        version=first.version,
        num_at_a_time=first.num_at_a_time,
        output_tokens_per_s=of("output_tokens_per_s"),
        ttft_p50_s=of("ttft_p50_s"),
        tbt_p50_s=of("tbt_p50_s"),
        tbt_p99_s=of("tbt_p99_s"),
    )


def show(results: Sequence[Result]) -> None:
    rows = [
        (
            result.engine,
            result.num_at_a_time,
            f"{result.output_tokens_per_s:.0f}",
            f"{result.ttft_p50_s * 1e3:.0f}",
            f"{result.tbt_p50_s * 1e3:.1f}",
            f"{result.tbt_p99_s * 1e3:.1f}",
        )
        for result in results
    ]
    header = ("engine", "at a time", "tokens/s", "TTFT p50 ms", "TBT p50 ms", "TBT p99 ms")
    print_table(header, rows)


def _spec(num_at_a_time: int) -> WorkloadSpec:
    return WorkloadSpec.model_validate(
        {
            "name": "throughput",
            "seed": num_at_a_time,
            "conversations": {
                "source": "fixed",
                "count": NUM_REQUESTS[num_at_a_time],
                "turns": 1,
                "prompt_tokens": PROMPT_TOKENS,
                "output_tokens": OUTPUT_TOKENS,
            },
            "arrivals": {"process": "closed", "concurrency": num_at_a_time},
            "users": {
                "all": {"share": 1.0, "slo": {"ttft": "60s", "tbt": "60s", "attainment": 0.5}}
            },
            "engines": {"one": {"kind": "fastswitch"}},
        }
    )


if __name__ == "__main__":
    main()
