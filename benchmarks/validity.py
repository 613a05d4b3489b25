"""A measured vLLM run, played again by the simulated engine: how far off is it?

    python -m benchmarks.validity vllm_measured_rtx4090_llama31-8b_requests.csv.gz

The requests' queueing instants and lengths go in; out come the latencies that the run measured and
that the same scheduler gives in virtual time. The profile is fitted to tables of single kernels;
nothing in it was chosen by looking at this run's latencies. See docs/simulator.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.results import print_table, write_result
from engines.simulated.settings import SimulatedSettings
from suite.records.turn_records import TurnRecord
from suite.virtual.player import VirtualPlayer
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.spec import WorkloadSpec

# As the measured server was set up: its meta.json.
MEASURED = SimulatedSettings(
    profile="rtx4090-llama31-8b",
    preset="recompute-prefix",
    policy="fcfs",
    kv_tokens=41_408,
    max_batch_tokens=2048,
    max_num_seqs=256,
    block_size=16,
)
MEASURED_NUM_PREEMPTIONS = 252  # as the run's publishers counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Instants:
    """The instants of each request, in order of queueing, in seconds."""

    queued_at: npt.NDArray[np.float64]
    first_token_at: npt.NDArray[np.float64]
    last_token_at: npt.NDArray[np.float64]
    num_output_tokens: npt.NDArray[np.int64]

    def numbers(self) -> dict[str, float]:
        ttft = self.first_token_at - self.queued_at
        tpot = (self.last_token_at - self.first_token_at) / (self.num_output_tokens - 1)
        latency = self.last_token_at - self.queued_at
        return {
            "ttft_mean_s": float(ttft.mean()),
            "tpot_mean_s": float(tpot.mean()),
            "tpot_p99_s": float(np.quantile(tpot, 0.99)),
            "latency_mean_s": float(latency.mean()),
            "latency_p99_s": float(np.quantile(latency, 0.99)),
            "makespan_s": float(self.last_token_at.max() - self.queued_at.min()),
        }


def compare(path: Path, settings: SimulatedSettings = MEASURED) -> dict[str, Any]:
    """Measured and simulated numbers of one run, and the relative errors."""
    measured = measured_instants(path).numbers()
    simulated, counts = simulate(plan_of(path), settings)
    numbers = simulated.numbers()
    return {
        "measured": {**measured, "num_preemptions": MEASURED_NUM_PREEMPTIONS},
        "simulated": {**numbers, **counts},
        "error_ratio": {name: numbers[name] / measured[name] - 1 for name in measured},
    }


def measured_instants(path: Path) -> Instants:
    table = pd.read_csv(path).sort_values("queued_s", kind="stable")
    return Instants(
        queued_at=table.queued_s.to_numpy(),
        first_token_at=table.first_token_s.to_numpy(),
        last_token_at=table.last_token_s.to_numpy(),
        num_output_tokens=table.output_toks.to_numpy(),
    )


def plan_of(path: Path) -> Plan:
    slo = {"ttft": "1s", "tbt": "1s", "attainment": 1.0}  # nobody is judged
    spec = WorkloadSpec.model_validate(
        {
            "name": "validity",
            "seed": 1,
            "conversations": {"trace": "vllm-requests", "path": str(path.resolve())},
            "arrivals": {"process": "trace"},
            "users": {"all": {"share": 1.0, "slo": slo}},
            "engines": {"simulated": {"kind": "simulated"}},
        }
    )
    return build_plan(spec, path.parent)


def simulate(plan: Plan, settings: SimulatedSettings) -> tuple[Instants, dict[str, int]]:
    """Plays all requests to their last tokens; returns their instants and the engine's counts."""
    records: list[TurnRecord] = []
    engine = settings.virtual_engine()
    player = VirtualPlayer(plan, engine, turn_timeout_s=float("inf"), on_turn=records.append)
    while player.next_at is not None:
        player.advance()
    assert len(records) == plan.num_turns, f"{len(records)} of {plan.num_turns} turns ended"
    records.sort(key=lambda record: record.conversation_id)
    stats = engine.engine.stats
    instants = Instants(
        queued_at=np.array([record.scheduled_at for record in records]),
        first_token_at=np.array([record.token_at[0] for record in records]),
        last_token_at=np.array([record.token_at[-1] for record in records]),
        num_output_tokens=np.array([len(record.token_at) for record in records]),
    )
    return instants, {"num_preemptions": stats.num_preemptions, "num_steps": stats.num_steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("requests", type=Path, help="the measured requests (csv)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results")
    arguments = parser.parse_args()
    results = compare(arguments.requests)
    measured, simulated = results["measured"], results["simulated"]
    rows = [
        (name, f"{measured[name]:.4g}", f"{simulated[name]:.4g}", f"{error:+.1%}")
        for name, error in results["error_ratio"].items()
    ]
    preemptions = [str(each["num_preemptions"]) for each in (measured, simulated)]
    print_table(["", "measured", "simulated", "error"], [*rows, ("preemptions", *preemptions, "")])
    if arguments.save:
        remark = f"{arguments.requests.name}. {MEASURED.remarks()[0]}"
        settings = MEASURED.resolve(None).model_dump(mode="json")
        print(write_result("validity", settings=settings, results=results, remark=remark))


if __name__ == "__main__":
    main()
