"""The ablation: one plan through every preset, interleaved, at a modelled A10's pace.

    python -m benchmarks.ablation [--repeats 3] [--arrivals-s 20] [--loads near low]

The real suite (server, driver, sockets), real tokens of nano-llama, real copies; ablation.yaml is
the traffic. STEPS AND COPIES LAST AS LONG AS THE PROFILE SAYS: those of Llama-3-8B on an A10, all
divided by the file's `pace.speed`, so a laptop gives what any other gives.

The baseline's capacity comes first, from its twin in virtual time with far more conversations at
once than fit: the rate at which the first three quarters of the turns end. Load `near` has arrivals
at 0.9 of it, and goes through every preset; `low`, at 0.45, through the baseline and the complete
designs.

Ratios are to the baseline, above 1 is better than it, of values over all repeats; beside each the
smallest and the largest ratio of one repeat to the same repeat of the baseline. A percentile that
has too few samples is null (P99.9 of TTFT needs 1,000 turns); the maximum stands beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from benchmarks.results import print_table, write_result
from benchmarks.twin import twin
from engines.core.settings import PRESETS
from workloads.yaml_file import read_yaml

HERE = Path(__file__).parent
WORKLOAD = HERE / "ablation.yaml"
BASELINE = "vllm-0.3"
LOADS = {"near": 0.9, "low": 0.45}  # of the baseline's capacity
LOOK_CONCURRENCY = 64
REMARK = (
    "paced: tokens and copies are real, durations those of a modelled GPU, as the workload says"
)
Json = dict[str, Any]

# Metric: where it stands in metrics.json, and whether more of it is better.
METRICS = {
    "ttft_p95_s": ("ttft_s", "p95", False),
    "ttft_p99_s": ("ttft_s", "p99", False),
    "ttft_p999_s": ("ttft_s", "p999", False),
    "ttft_max_s": ("ttft_s", "max", False),
    "tbt_p99_s": ("tbt_s", "p99", False),
    "tbt_p999_s": ("tbt_s", "p999", False),
    "tbt_max_s": ("tbt_s", "max", False),
    "output_tokens_per_s": ("throughput", "output_tokens_per_s", True),
    "users_within_slo_ratio": ("slo", "users_within_slo_ratio", True),
}
EXPLAINING = (
    "num_preemptions",
    "num_recompute_preemptions",
    "num_swap_out_blocks",
    "num_swap_in_blocks",
    "mean_blocks_per_copy",
    "stall_ratio",
    "bookkeeping_ratio",
    "num_sync_swap_ins",
    "num_async_swap_ins",
)


def arms(common: Mapping[str, Any], presets: Sequence[str]) -> Json:
    """Returns an engine for each preset with all else equal; '+' is no part of a folder's name."""
    return {preset.replace("+", "-"): {**common, "preset": preset} for preset in presets}


def play(root: Path, workload: Path, overrides: Mapping[str, Any]) -> Path:
    """`fsbench run` of the workload so changed; the run directory."""
    root.mkdir(parents=True, exist_ok=True)
    before = set(root.iterdir())
    sets = [f"--set={key}={json.dumps(value)}" for key, value in overrides.items()]
    command = [sys.executable, "-m", "suite.cli", "run", str(workload), "--out", str(root), *sets]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    new = sorted(set(root.iterdir()) - before)
    if done.returncode or not new:
        raise SystemExit(f"fsbench run ended with exit status {done.returncode}; see {root}")
    return new[-1]


def look(root: Path, workload: Mapping[str, Any], count: int) -> Path:
    """The baseline's twin with far more conversations than fit; its part's directory."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(twin(workload), file, sort_keys=False)
        file.flush()
        closed = {"process": "closed", "concurrency": LOOK_CONCURRENCY}
        overrides = {"arrivals": closed, "conversations.count": count}
        return play(root, Path(file.name), overrides) / BASELINE / "1"


def capacity(part: Path) -> float:
    """Conversations a second, by the rate at which the first three quarters of the turns end."""
    turns = pq.read_table(part / "turns.parquet").to_pandas()
    ends = np.sort(turns.done_at.to_numpy())
    num_turns = len(ends) * 3 // 4
    turns_per_s = num_turns / (ends[num_turns - 1] - turns.scheduled_at.min())
    return float(turns_per_s * turns.conversation_id.nunique() / len(turns))


def summarise(metrics: Json) -> list[Json]:
    base = metrics["engines"][BASELINE]
    return [_row(name, engine, base) for name, engine in metrics["engines"].items()]


def _row(name: str, engine: Json, base: Json) -> Json:
    row: Json = {"arm": name, "status": engine["status"], "num_turns": engine["ttft_s"]["count"]}
    for metric, (group, key, is_more_better) in METRICS.items():
        paired = zip(engine["repeats"], base["repeats"], strict=False)
        ratios = [_ratio(own[group], its[group], key, is_more_better) for own, its in paired]
        known = [ratio for ratio in ratios if ratio is not None]
        row[metric] = {
            "value": engine[group][key],
            "ratio": _ratio(engine[group], base[group], key, is_more_better),
            "of_repeats": [repeat[group][key] for repeat in engine["repeats"]],
            "ratio_range": [min(known), max(known)] if known else None,
        }
    switches = engine["context_switch"] or {}
    return row | {key: switches.get(key) for key in EXPLAINING} | {"warnings": engine["warnings"]}


def _ratio(own: Json, its: Json, key: str, is_more_better: bool) -> float | None:
    """Returns by what factor it is better than the baseline; None where a value is missing."""
    value, base = own[key], its[key]
    if not value or not base:
        return None
    return float(value / base if is_more_better else base / value)


def show(load: str, rows: Sequence[Json]) -> None:
    print(f"load {load}: {REMARK}")
    shown = [metric for metric in METRICS if metric not in ("ttft_max_s", "tbt_max_s")]
    print_table(
        ["arm", *shown, "blocks/copy", "stall"],
        [
            [
                row["arm"],
                *(_cell(row[metric]) for metric in shown),
                _number(row["mean_blocks_per_copy"], ".1f"),
                _number(row["stall_ratio"], ".2f"),
            ]
            for row in rows
        ],
    )


def _cell(of: Json) -> str:
    spread = "" if of["ratio_range"] is None else " ({:.2f}–{:.2f})".format(*of["ratio_range"])
    return f"{_number(of['value'], '.3g')} {_number(of['ratio'], '.2f')}x{spread}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--arrivals-s", type=float, default=20.0, help="how long arrivals go on")
    parser.add_argument("--loads", nargs="+", choices=[*LOADS], default=[*LOADS])
    parser.add_argument("--presets", nargs="+", choices=[*PRESETS], help="besides the baseline")
    parser.add_argument("--look-conversations", type=int, default=80)
    parser.add_argument("--out", type=Path, help="keep the run directories here")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.out or Path(temporary)
        settings, results = measure(root, args)
    if not args.dry:
        print(write_result("ablation", settings=settings, results=results, remark=REMARK))


def measure(root: Path, args: argparse.Namespace) -> tuple[Json, Json]:
    """What was set and found out beforehand, and the rows of each load."""
    workload = read_yaml(WORKLOAD)
    common = workload["engines"][BASELINE]
    rate = capacity(look(root, workload, args.look_conversations))
    print(f"capacity {rate:.2f} conversations/s, pace {common['pace']}")
    settings = {
        "repeats": args.repeats,
        "arrivals_s": args.arrivals_s,
        "capacity_conversations_per_s": rate,
        "workload": workload,
    }
    results = {}
    for load in args.loads:
        presets = [name for name in PRESETS if name == BASELINE or is_wanted(name, load, args)]
        own_rate = LOADS[load] * rate
        overrides = {
            "engines": arms(common, presets),
            "repeats": args.repeats,
            "arrivals.rate": own_rate,
            "conversations.count": max(2, round(own_rate * args.arrivals_s)),
        }
        run = play(root, WORKLOAD, overrides)
        rows = summarise(json.loads((run / "metrics.json").read_text()))
        show(load, rows)
        results[load] = {"conversations_per_s": own_rate, "arms": rows}
    return settings, results


def is_wanted(preset: str, load: str, args: argparse.Namespace) -> bool:
    if args.presets is not None:
        return preset in args.presets
    return load == "near" or "+" not in preset  # not the single steps


if __name__ == "__main__":
    main()
