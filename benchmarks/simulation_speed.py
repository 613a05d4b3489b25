"""How fast is a simulated run: the paper's workload per preset, on one core, from plan to Parquet.

    python -m benchmarks.simulation_speed [--presets vllm-0.3 fastswitch] [--flat 1000 10000]

Each preset plays `workloads/paper/llama8b-a10-random.yaml` in a process of its own. CPU time is the
process's, reading the plan not counted; the ratio is that of virtual to CPU seconds. Peak memory is
the whole process's. `flat`: the same cost per token at 10 and 100 times the conversations, with
short answers so that it ends. `where` is a second, profiled play: shares of own time by module,
which profiling itself distorts in favour of small functions.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.results import print_table, write_result
from engines.simulated.settings import SimulatedSettings
from suite.playing.simulate import simulate
from suite.playing.workload import load_workload

WORKLOAD = Path("workloads/paper/llama8b-a10-random.yaml")
PRESETS = ("vllm-0.3", "groups", "async", "reuse", "fastswitch", "recompute-prefix")
FLAT = (1_000, 10_000, 100_000)
SHORT = ("conversations.length_scale=0.05", "conversations.max_turns=2")
NUM_MODULES = 12


def measure(engine: str, overrides: list[str], *, is_profiled: bool) -> dict[str, Any]:
    """Simulates in this process and returns its seconds and bytes."""
    workload = load_workload(WORKLOAD, overrides)
    settings = workload.engines[engine]
    assert isinstance(settings, SimulatedSettings)
    profile = cProfile.Profile() if is_profiled else None
    with tempfile.TemporaryDirectory() as name:
        began_at = time.process_time()
        if profile is None:
            result = simulate(workload.plan, settings, Path(name))
        else:
            result = profile.runcall(simulate, workload.plan, settings, Path(name))
        cpu_s = time.process_time() - began_at
        turns = pq.read_table(Path(name) / "turns.parquet", columns=["num_output_tokens"])
        num_steps = pq.read_metadata(Path(name) / "steps.parquet").num_rows
    assert result.counts.recorded == workload.plan.num_turns, result
    num_tokens = pc.sum(turns["num_output_tokens"]).as_py()
    return {
        "engine": engine,
        "num_conversations": len(workload.plan.conversations),
        "num_turns": result.counts.recorded,
        "num_output_tokens": num_tokens,
        "num_steps": num_steps,
        "cpu_s": cpu_s,
        "virtual_s": result.duration_s,
        "tokens_per_cpu_s": num_tokens / cpu_s,
        "cpu_s_per_token": cpu_s / num_tokens,
        "virtual_to_cpu_ratio": result.duration_s / cpu_s,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "shares": None if profile is None else _shares(profile),
    }


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    """Returns the share of all functions' own time by file."""
    spent: Counter[str] = Counter()
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]]
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (path, _, function), (_, _, own_s, _, _) in stats.items():
        place = path.rpartition("/")[2] if path != "~" else "built-in " + function
        spent[place] += own_s
    total = spent.total()
    return {place: own_s / total for place, own_s in spent.most_common(NUM_MODULES)}


def in_own_process(
    engine: str, overrides: list[str], *, is_profiled: bool = False
) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.simulation_speed", "--one", engine]
    command += [*(f"--set={each}" for each in overrides), *(["--profile"] if is_profiled else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def show(rows: list[dict[str, Any]], *, has_header: bool = False) -> None:
    print_table(
        [
            "engine".ljust(12),
            "conversations",
            "tokens",
            "steps",
            "CPU s",
            "tokens/s",
            "x real",
            "MiB",
        ],
        [
            [
                row["engine"].ljust(12),
                row["num_conversations"],
                row["num_output_tokens"],
                row["num_steps"],
                f"{row['cpu_s']:.1f}",
                f"{row['tokens_per_cpu_s']:.0f}",
                f"{row['virtual_to_cpu_ratio']:.0f}",
                row["peak_memory_bytes"] // 2**20,
            ]
            for row in rows
        ],
        has_header=has_header,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), help="engines of the file")
    parser.add_argument("--flat", nargs="*", type=int, default=list(FLAT))
    parser.add_argument("--set", action="append", default=[], help="override of the workload")
    parser.add_argument("--one", help="measure this engine here and print it as JSON")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.set, is_profiled=args.profile)))
        return
    show([], has_header=True)
    rows = []
    for preset in args.presets:
        rows.append(in_own_process(preset, args.set))
        show(rows[-1:])
    flat = []
    for count in args.flat:
        overrides = [*args.set, *SHORT, f"conversations.count={count}", "arrivals.rate=3"]
        flat.append(in_own_process("fastswitch", overrides))
        show(flat[-1:])
    where = in_own_process("fastswitch", args.set, is_profiled=True)["shares"]
    for place, share in where.items():
        print(f"{share:6.1%}  {place}")
    if not args.dry:
        results = {"presets": rows, "flat": flat, "where": where}
        print(write_result("simulation_speed", settings={"overrides": args.set}, results=results))


if __name__ == "__main__":
    main()
