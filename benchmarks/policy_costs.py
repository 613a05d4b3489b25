"""What a scheduling policy itself costs: CPU time of a step at 64, 256 and 1,024 requests.

    python -m benchmarks.policy_costs [--rounds 6]

The engine of `benchmarks.bookkeeping`; what is timed is the policy's own methods, and the sorting
that new ranks ask for. `steady`: everybody decodes. `churn`: the pool holds about half of them, and
whoever has finished is replaced by a new request. A policy that looks at its ranks every few steps
pays then: read the mean; P99 is such a step. The clock's own reading, about 0.3 µs a call, is in
it.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.bookkeeping import SIZES, STEPS_PER_ROUND, Arm, core_settings
from benchmarks.results import print_table, write_result
from engines.core.policies.settings import POLICIES
from engines.core.request import Request
from engines.core.settings import CoreSettings
from engines.terms import Slo, Terms

PRESET = "fastswitch"
SLOS = {
    "interactive": Slo(ttft_s=1.0, tbt_s=0.2, max_gap_s=2.0),
    "standard": Slo(ttft_s=3.0, tbt_s=0.3, max_gap_s=3.0),
    "batch": Slo(ttft_s=10.0, tbt_s=1.0, max_gap_s=10.0),
}
TIMED = ("submitted", "renew", "served", "ended", "may_displace", "max_prefill_tokens")


class PolicyArm(Arm):
    """An engine whose policy is timed."""

    def __init__(self, policy: str, scene: str, num_live: int) -> None:
        self.policy = policy
        self.spent_s = 0.0
        super().__init__(PRESET, scene, num_live)
        self.name = f"{policy} {scene} {num_live}"
        engine: Any = self.engine
        for name in TIMED:
            setattr(engine._policy, name, self._timed(getattr(engine._policy, name)))
        engine._roster.reorder = self._timed(engine._roster.reorder)

    def core_settings(self, preset: str, num_live: int) -> CoreSettings:
        core = core_settings(preset, num_live, is_steady=self._is_steady)
        mechanisms = replace(core.mechanisms, policy=POLICIES[self.policy]())
        return replace(core, mechanisms=mechanisms)

    def new_request(self) -> Request:
        request = super().new_request()
        name = list(SLOS)[request_number(request) % len(SLOS)]
        user_id = f"u{request_number(request) % 100}"
        request.terms = Terms(user_id=user_id, user_class=name, slo=SLOS[name])
        return request

    def step(self) -> float:
        self.spent_s = 0.0
        super().step()
        return self.spent_s

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began_at = time.thread_time()
            found = method(*arguments)
            self.spent_s += time.thread_time() - began_at
            return found

        return timed


def request_number(request: Request) -> int:
    return int(request.request_id.removeprefix("r"))


def numbers(arm: Arm) -> dict[str, float]:
    seconds = sorted(second for each in arm.rounds for second in each)
    means = [statistics.fmean(each) for each in arm.rounds]
    return {
        "num_steps": len(seconds),
        "mean_s": statistics.fmean(seconds),
        "lowest_round_mean_s": min(means),
        "p99_s": seconds[int(0.99 * (len(seconds) - 1))],
        "num_preemptions": arm.engine.stats.num_preemptions,
    }


def measured(policy: str, scene: str, num_live: int, num_rounds: int) -> dict[str, float]:
    arm = PolicyArm(policy, scene, num_live)
    arm.warm_up()
    gc.collect()
    gc.freeze()
    for _ in range(num_rounds):
        arm.run_round(STEPS_PER_ROUND)
    gc.unfreeze()
    return numbers(arm)


def show(results: dict[str, dict[str, float]]) -> None:
    names = ("mean_s", "lowest_round_mean_s", "p99_s")
    print_table(
        ["policy, scene, live requests", "mean µs", "lowest round", "P99 µs", "preemptions"],
        [
            [arm, *(f"{row[name] * 1e6:.0f}" for name in names), row["num_preemptions"]]
            for arm, row in results.items()
        ],
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=POLICIES)
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args(argv)
    results = {
        f"{policy} {scene} {size}": measured(policy, scene, size, args.rounds)
        for policy in args.policies
        for scene in ("steady", "churn")
        for size in args.sizes
    }
    show(results)
    if not args.dry:
        settings = {"rounds": args.rounds, "steps_per_round": STEPS_PER_ROUND, "preset": PRESET}
        print(write_result("policy_costs", settings=settings, results=results))


if __name__ == "__main__":
    main()
