"""The demo, played again and again: does it say the same whoever else is at work on the machine?

    python -m benchmarks.demo_runs [--conditions one_core ...] [--in-a-row 10]

`make demo`'s workload (workloads/quickstart.yaml) through the real command, in conditions that
change what the machine has left for it, then several times in a row. First its virtual twin: the
same plan through `kind: simulated` with the same profile, which says what the paced engines should
come to. A condition says what THIS script adds or takes away; what else ran meanwhile shows in the
load average beside each run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.results import print_table, write_result
from benchmarks.twin import twin
from workloads.yaml_file import read_yaml

WORKLOAD = Path(__file__).parents[1] / "workloads" / "quickstart.yaml"
BURN = "while True: pass"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What the demo's processes may use, and who is at work beside them."""

    is_pinned: bool = False  # to one core, and so are those beside it
    num_busy: int = 0  # processes that compute all the time
    has_priority: bool = True  # False: no right to real-time or raised priority, as a common user

    @property
    def place(self) -> list[str]:
        """The command that starts another where this condition has it."""
        return ["taskset", "--cpu-list", "0"] if self.is_pinned else []

    @property
    def rights(self) -> list[str]:
        """Root without CAP_SYS_NICE is a common user to the scheduler."""
        return [] if self.has_priority else ["setpriv", "--bounding-set=-sys_nice"]


CONDITIONS = {
    "one_core": Condition(is_pinned=True),
    "beside_a_busy_core": Condition(num_busy=1),
    "one_core_shared": Condition(is_pinned=True, num_busy=1),
    "common_user": Condition(has_priority=False),
}


def play(workload: Path, root: Path, condition: Condition) -> Json:
    """Returns the run's numbers, its exit code and how long the whole command took."""
    before = set(root.iterdir())
    began_at, load = time.monotonic(), os.getloadavg()[0]
    command = [sys.executable, "-m", "suite.cli", "run", str(workload), "--out", str(root)]
    with busy(condition):
        done = subprocess.run(
            [*condition.place, *condition.rights, *command], check=False, stdout=subprocess.DEVNULL
        )
    took_s = time.monotonic() - began_at
    (run,) = set(root.iterdir()) - before
    metrics = json.loads((run / "metrics.json").read_text())
    return {
        "exit_code": done.returncode,
        "duration_s": took_s,
        "load_average": [load, os.getloadavg()[0]],
        "gates": {
            f"{each['engine']}: {each['gate']}": each["outcome"] for each in metrics["gates"]
        },
        "engines": {name: _figures(each) for name, each in metrics["engines"].items()},
    }


@contextmanager
def busy(condition: Condition) -> Iterator[None]:
    """Somebody else at work, for as long as this is open."""
    burn = [*condition.place, sys.executable, "-c", BURN]
    others = [subprocess.Popen(burn) for _ in range(condition.num_busy)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def _figures(engine: Json) -> Json:
    return {
        "users_within_slo_ratio": engine["slo"]["users_within_slo_ratio"],
        "ttft_p50_s": engine["ttft_s"]["p50"],
        "ttft_p95_s": engine["ttft_s"]["p95"],
        "tbt_p50_s": engine["tbt_s"]["p50"],
        "tbt_p99_s": engine["tbt_s"]["p99"],
        "tbt_max_s": engine["tbt_s"]["max"],
        "output_tokens_per_s": engine["throughput"]["output_tokens_per_s"],
        "pace": engine["pace"],
        "is_driver_valid": engine["is_driver_valid"],
    }


def show(name: str, found: Json, *, is_first: bool) -> None:
    header = ["run", "exit", "took", "load", "engine", "users", "TTFT P95", "TBT P99", "late P99"]
    rows = [
        [
            name.ljust(24),
            found["exit_code"],
            f"{found['duration_s']:.0f} s",
            f"{found['load_average'][1]:.1f}",
            engine.rjust(10),
            f"{each['users_within_slo_ratio']:.0%}".rjust(5),
            f"{each['ttft_p95_s'] * 1e3:.0f} ms".rjust(8),
            f"{each['tbt_p99_s'] * 1e3:.0f} ms".rjust(7),
            f"{each['pace']['missed_p99_s'] * 1e3:.1f} ms" if each["pace"] else "-",
        ]
        for engine, each in found["engines"].items()
    ]
    print_table(header, rows, has_header=is_first)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conditions", nargs="*", choices=[*CONDITIONS], default=[*CONDITIONS])
    parser.add_argument("--in-a-row", type=int, default=10, metavar="N", help="besides, as it is")
    parser.add_argument("--out", type=Path, help="keep the run directories here")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    wanted = [(name, CONDITIONS[name]) for name in args.conditions]
    wanted += [(f"in_a_row {i + 1}", Condition()) for i in range(args.in_a_row)]
    with tempfile.TemporaryDirectory() as temporary:
        root = args.out or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        settings = {"conditions": args.conditions, "in_a_row": args.in_a_row}
        for results in measure(root, wanted):  # each time the file is written anew: it takes long
            if not args.dry:
                write_result("demo_runs", settings=settings, results=results)


def measure(root: Path, wanted: list[tuple[str, Condition]]) -> Iterator[Json]:
    """Gives after each run the twin's figures and those of all runs so far."""
    workload = read_yaml(WORKLOAD)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(twin(workload), file, sort_keys=False)
        file.flush()
        expected = play(Path(file.name), root, Condition())
    show("virtual twin", expected, is_first=True)
    runs: list[Json] = []
    for name, condition in wanted:
        found = play(WORKLOAD, root, condition)
        show(name, found, is_first=False)
        runs.append({"condition": name, **found})
        yield {"workload": workload, "twin": expected, "runs": runs}
    codes = sorted({each["exit_code"] for each in runs})
    print(f"{len(runs)} runs, exit codes {codes}")


if __name__ == "__main__":
    main()
