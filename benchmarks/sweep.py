"""A preview of the ablation: a ShareGPT-like plan through all presets, in virtual time.

    python -m benchmarks.sweep [presets load groups frequency host_pool] [--conversations 240]

VIRTUAL TIME, COST MODEL BY ANALOGY, NOT A MEASUREMENT OF A GPU. The scheduler, allocators, swapping
and reuse are the engine's own; what a step and a transfer take comes from the profile
a10-llama3-8b. Every number is a prediction of the model, good for asking which mechanism
matters and why, and worth no more than the model. The presets re-implement designs in one core:
`vllm-0.3` is not vLLM.

`presets`: the plan at update frequency 0.04, through every preset. `load`: conversations a second,
from a device with room for all to one that can not keep up. `groups`: group_tokens from 64
to 3,000. `frequency`: priority updates per iteration. `host_pool`: host memory in multiples of the
device pool. Latencies in the table are ratios to vllm-0.3 of the same setting, above 1 is better
than it: TTFT and TBT as baseline / own, throughput as own / baseline. Absolute values are in the
JSON. One plan, one seed: a P99.9 of TTFT rests on two turns or so; trust the larger effects.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from benchmarks.results import print_table, write_result
from engines.simulated.settings import SimulatedSettings
from suite.attainment import attaining_turns, judge_users, planned_users
from suite.engine_logs import read_engine_logs
from suite.latencies import samples, throughput
from suite.statistics import summarise
from suite.turn_table import read_turns
from suite.virtual.simulate import simulate
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.spec import WorkloadSpec

REMARK = "virtual time, cost model by analogy, not a measurement of a GPU"
PROFILE = "a10-llama3-8b"
BASELINE = "vllm-0.3"
ARMS = (
    "vllm-0.3",
    "vllm-0.3+groups",
    "vllm-0.3+async",
    "vllm-0.3+reuse",
    "fastswitch",
    "vllm-v1",
)
KV_TOKENS = 32_768
HOST_RATIO = 10
FREQUENCY = 0.04
GROUP_TOKENS = (64, 256, 1000, 3000)
FREQUENCIES = (0.0, 0.01, 0.02, 0.04, 0.08)
HOST_RATIOS = (2, 4, 8, 16)
RATES = (0.25, 0.4, 0.6, 1.0)  # conversations a second, of about 4.5 turns
RATIOS = {  # column: metric, and whether more of it is better
    "TTFT P50": ("ttft_p50_s", False),
    "P99": ("ttft_p99_s", False),
    "P99.9": ("ttft_p999_s", False),
    "TBT P99.9": ("tbt_p999_s", False),
    "tokens/s": ("output_tokens_per_s", True),
}
SUMMED = (
    "num_preemptions",
    "num_recompute_preemptions",
    "num_conflicts",
    "num_sync_swap_ins",
    "num_async_swap_ins",
    "num_contaminated_blocks",
    "num_prefill_tokens",
    "num_recomputed_tokens",
    "num_reused_tokens",
)
Key = tuple[str, dict[str, Any]]  # preset, what differs from the usual setting


def plan_of(num_conversations: int, rate: float, frequency: float, seed: int) -> Plan:
    """The paper's traffic: ShareGPT-like conversations, Poisson arrivals, random priorities."""
    return build_plan(
        WorkloadSpec.model_validate(
            {
                "name": "sweep",
                "seed": seed,
                "conversations": {
                    "source": "sharegpt-like",
                    "count": num_conversations,
                    "max_context_tokens": 4096,
                },
                "arrivals": {"process": "poisson", "rate": rate},
                "think_time": {"distribution": "lognormal", "median": "10s", "sigma": 1.0},
                "users": {
                    "interactive": {
                        "share": 0.5,
                        "slo": {"ttft": "2s", "tbt": "500ms", "attainment": 0.9},
                    },
                    "standard": {
                        "share": 0.5,
                        "slo": {"ttft": "10s", "tbt": "2s", "attainment": 0.9},
                    },
                },
                "priorities": {"pattern": "random", "levels": 8, "update_frequency": frequency},
                "engines": {"any": {"kind": "fastswitch"}},
            }
        ),
        Path.cwd(),
    )


def play(preset: str, plan: Plan, *, host_ratio: int, group_tokens: int) -> dict[str, Any]:
    settings = SimulatedSettings(
        profile=PROFILE,
        preset=preset,
        kv_tokens=KV_TOKENS,
        swap_tokens=KV_TOKENS * host_ratio,
        max_batch_tokens=512,
        max_num_seqs=256,
        group_tokens=group_tokens,
    )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        simulate(plan, settings.resolved(None), directory)
        return numbers(plan, directory)


def numbers(plan: Plan, directory: Path) -> dict[str, Any]:
    """The suite's metrics of a played plan, and what the engine's log adds up to. Seconds."""
    turns = read_turns([(1, directory)])
    steps = read_engine_logs(directory).steps
    assert steps is not None and len(turns) == plan.num_turns, f"{len(turns)} of {plan.num_turns}"
    users = judge_users(planned_users(plan), turns, attaining_turns(turns, plan.user_classes), [1])
    everything = np.ones(len(turns), dtype=bool)
    ttft = summarise(samples(turns, everything, "first_token_delay_s"))
    tbt = summarise(samples(turns, everything, "tbt_s"))
    total = {name: pc.sum(steps[name]).as_py() for name in steps.column_names}
    num_blocks = total["num_swap_out_blocks"] + total["num_swap_in_blocks"]
    return {
        "ttft_p50_s": ttft.percentiles["p50"],
        "ttft_p99_s": ttft.percentiles["p99"],
        "ttft_p999_s": ttft.percentiles["p999"],
        "ttft_max_s": ttft.maximum,
        "tbt_p50_s": tbt.percentiles["p50"],
        "tbt_p99_s": tbt.percentiles["p99"],
        "tbt_p999_s": tbt.percentiles["p999"],
        "tbt_max_s": tbt.maximum,
        "output_tokens_per_s": throughput(turns, [1])["output_tokens_per_s"],
        "users_within_slo_ratio": float(users.is_within_slo.mean()),
        "turn_attainment_ratio": float(users.num_attained_turns.sum() / plan.num_turns),
        "num_steps": len(steps),
        "num_turns": len(turns),
        "num_swapped_blocks": num_blocks,
        "blocks_per_run": num_blocks / total["num_copy_runs"] if total["num_copy_runs"] else None,
        "stall_ratio": total["stall_s"] / total["duration_s"],
        **{name: total[name] for name in SUMMED},
        "mean_step_s": total["duration_s"] / len(steps),
        "mean_num_running": total["num_running"] / len(steps),
    }


def settings_of(sweep: str) -> Iterator[Key]:
    if sweep == "presets":
        yield from ((preset, {}) for preset in ARMS)
    elif sweep == "groups":
        yield BASELINE, {}
        yield from (("fastswitch", {"group_tokens": tokens}) for tokens in GROUP_TOKENS)
    else:
        name, values = {
            "frequency": ("frequency", FREQUENCIES),
            "host_pool": ("host_ratio", HOST_RATIOS),
            "load": ("rate", RATES),
        }[sweep]
        presets = (BASELINE, "fastswitch")
        for value, preset in itertools.product(values, presets):
            yield preset, {name: value}


def run_sweep(sweep: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a setting, each with its ratios to the baseline row before it."""
    plans: dict[tuple[float, float], Plan] = {}
    rows: list[dict[str, Any]] = []
    base: dict[str, Any] = {}
    for preset, changes in settings_of(sweep):
        chosen: dict[str, Any] = {"host_ratio": HOST_RATIO, "group_tokens": 1000} | changes
        traffic = (chosen.pop("rate", args.rate), chosen.pop("frequency", FREQUENCY))
        if traffic not in plans:
            plans[traffic] = plan_of(args.conversations, *traffic, args.seed)
        values = play(preset, plans[traffic], **chosen)
        if preset == BASELINE:
            base = values
        rows.append({"preset": preset, **changes, **values, "ratios": _ratios(values, base)})
        _show(rows[-1:], has_header=len(rows) == 1)
    return rows


def _ratios(values: dict[str, Any], base: dict[str, Any]) -> dict[str, float | None]:
    """How much better than the baseline; None where either has too few samples."""
    ratios: dict[str, float | None] = {}
    for name, is_more_better in RATIOS.values():
        own, its = values[name], base[name]
        if own is None or its is None:
            ratios[name] = None
        else:
            ratios[name] = own / its if is_more_better else its / own
    return ratios


COLUMNS = (*RATIOS, "users in SLO", "preempted", "stall", "blocks/run", "ms/step")


def _show(rows: list[dict[str, Any]], *, has_header: bool) -> None:
    header = ["setting".ljust(34), *(name.rjust(9) for name in COLUMNS)]
    cells = []
    for row in rows:
        changes = [
            f"{k} {row[k]}" for k in ("group_tokens", "frequency", "host_ratio", "rate") if k in row
        ]
        ratios = [row["ratios"][name] for name, _ in RATIOS.values()]
        runs = row["blocks_per_run"]
        cells.append(
            [
                " ".join([row["preset"], *changes]).ljust(34),
                *("-" if ratio is None else f"{ratio:.2f}x" for ratio in ratios),
                f"{row['users_within_slo_ratio']:.3f}",
                row["num_preemptions"],
                f"{row['stall_ratio']:.3f}",
                "-" if runs is None else f"{runs:.1f}",
                f"{row['mean_step_s'] * 1e3:.1f}",
            ]
        )
    print_table(header, cells, has_header=has_header)


def main() -> None:
    sweeps = ("presets", "load", "groups", "frequency", "host_pool")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweeps", nargs="*", default=sweeps, choices=[*sweeps, sweeps])
    parser.add_argument("--conversations", type=int, default=240)
    parser.add_argument("--rate", type=float, default=0.4, help="conversations per second")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dry", action="store_true", help="write no result files")
    args = parser.parse_args()
    for sweep in args.sweeps:
        print(f"{sweep}: {REMARK}")
        rows = run_sweep(sweep, args)
        if not args.dry:
            settings = {"conversations": args.conversations, "rate": args.rate, "seed": args.seed}
            print(write_result(f"sweep_{sweep}", settings=settings, results=rows, remark=REMARK))


if __name__ == "__main__":
    main()
