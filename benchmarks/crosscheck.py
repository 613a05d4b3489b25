"""Do virtual and wall time agree? A plan simulated, and emulated behind the real server and driver.

    python -m benchmarks.crosscheck [--conversations 60] [--repeats 3]

`time: wall` sleeps what `time: virtual` jumps over, so whatever differs is the doing of the server,
the driver and the sockets between: HTTP before a step boundary, the loop's wake-up after it. The
bound is 3 % on P50 and P99 of TTFT and TBT, on a machine that keeps up; `late` is how far behind
the modelled GPU the emulation ever was, and the driver's own verdict stands beside it. Where either
is bad, the numbers say that the machine was too busy, not that the two ways differ. On a machine
with other work on it, `chrt --rr 1` before the command keeps that away.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import print_table, write_result
from suite.playing.runner import RunOutcome, run
from suite.playing.workload import load_workload
from suite.records.progress import Progress
from suite.records.run_directory import Trial
from suite.records.turn_table import TurnTable, read_turns

WORKLOAD = Path("workloads/ci.yaml")
BOUND_RATIO = 0.03
ENGINE = (
    "{kind: simulated, profile: a10-llama3-8b, preset: fastswitch, kv_tokens: 16384, "
    "swap_tokens: 163840, max_batch_tokens: 512, time: %s}"
)
LATE = re.compile(r"the emulation was late by ([0-9.]+) s")


class Quiet:
    """An observer that says one line a trial."""

    def on_trial_start(self, engine: str, repeat: int) -> None: ...

    def on_progress(self, progress: Progress) -> None: ...

    def on_trial_end(self, trial: Trial) -> None:
        print(
            f"{trial.engine} {trial.repeat}: {trial.status}, {trial.duration_s:.1f} s", flush=True
        )


def overrides(args: argparse.Namespace) -> list[str]:
    engines = ", ".join(f"{time}: {ENGINE % time}" for time in ("virtual", "wall"))
    return [
        f"conversations.count={args.conversations}",
        "conversations.max_turns=4",
        f"arrivals.rate={args.rate}",
        "think_time={distribution: exponential, mean: 1s, max: 3s}",
        f"engines={{{engines}}}",
        "baseline=virtual",
        "gates=[]",
        f"repeats={args.repeats}",
    ]


def quantiles(turns: TurnTable) -> dict[str, float]:
    ttft_s = turns.first_token_at - turns.scheduled_at
    return {
        f"{name}_{label}_s": float(np.quantile(values, q))
        for name, values in (("ttft", ttft_s), ("tbt", turns.gaps))
        for label, q in (("p50", 0.5), ("p99", 0.99))
    }


def numbers(outcome: RunOutcome) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for time in ("virtual", "wall"):
        trials = [trial for trial in outcome.manifest.trials if trial.engine == time]
        turns = read_turns([(trial.repeat, trial.directory(outcome.directory)) for trial in trials])
        assert len(turns) and not turns.has_failed.any(), outcome.manifest.trials
        found[time] = quantiles(turns)
    walls = [trial for trial in outcome.manifest.trials if trial.engine == "wall"]
    logs = [(trial.directory(outcome.directory) / "engine.log").read_text() for trial in walls]
    found["wall_to_virtual_ratio"] = {
        name: value / found["virtual"][name] for name, value in found["wall"].items()
    }
    found["num_turns"] = walls[0].counts.recorded
    found["late_s"] = [float(match[1]) for log in logs if (match := LATE.search(log))]
    found["driver_lag_p99_s"] = [trial.driver.lag_p99_s for trial in walls if trial.driver]
    found["is_driver_valid"] = [trial.driver.is_valid for trial in walls if trial.driver]
    return found


def show(found: dict[str, Any]) -> None:
    virtual, ratios = found["virtual"], found["wall_to_virtual_ratio"]
    rows = [
        [name, f"{virtual[name] * 1e3:.2f}", f"{value * 1e3:.2f}", f"{ratios[name]:.3f}"]
        for name, value in found["wall"].items()
    ]
    print_table(["milliseconds", "virtual", "wall", "ratio"], rows)
    worst = max(abs(ratio - 1) for ratio in ratios.values())
    print(f"furthest apart {worst:.1%} (bound {BOUND_RATIO:.0%})")
    print(f"late {max(found['late_s']):.4f} s at most, driver valid: {found['is_driver_valid']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1.0, help="conversations per second")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    workload = load_workload(WORKLOAD, overrides(args))
    with tempfile.TemporaryDirectory() as root:
        found = numbers(run(workload, root=Path(root), num_workers=1, observer=Quiet()))
    show(found)
    if not args.dry:
        settings = {"conversations": args.conversations, "rate": args.rate, "repeats": args.repeats}
        print(write_result("crosscheck", settings=settings, results=found))


if __name__ == "__main__":
    main()
