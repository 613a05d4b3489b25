"""What the engine core itself costs: a step without its device, at 64, 256 and 1,024 requests.

    python -m benchmarks.bookkeeping [--rounds 12]

The device answers at once and its transfers complete in virtual time, so what is timed is
arrivals, priorities, polling, scheduling, allocation, copy runs, the batch, and handing out the
tokens. `steady`: everybody decodes. `churn`: the pool holds about half of them, priorities are
drawn anew every 25 steps, and whoever has finished is replaced by a new request. `waiting-N`:
steady, with N more requests that find no room. `idle-N`: churn, with a host pool full of N contexts
of conversations that say nothing more. All arms take turns, some steps each in a round, so that
what else the machine does falls on all of them alike.
Times are CPU time of the thread, which other processes lengthen (caches, clock) but do not add to.

Read the median as the cost of a usual step; P99 under churn is a step after new priorities, when
half of the pool changes hands. The spread is the lowest and highest median of any round.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.results import print_table, write_result
from engines.api import PriorityUpdates
from engines.core.device import Batch
from engines.core.engine import Engine
from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, CoreSettings
from engines.simulated.device import ModelledDevice, VirtualClock
from engines.simulated.profile import load_profile

ARMS = ("vllm-0.3", "recompute-prefix", "fastswitch")
SIZES = (64, 256, 1024)
STEPS_PER_ROUND = 50
WARM_UP_STEPS = 100
CONTEXT_TOKENS = 512  # in the mean
BLOCK_SIZE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    is_steady: bool
    num_waiting: int = 0
    num_idle: int = 0


SCENES = {
    "steady": Scene(is_steady=True),
    "churn": Scene(is_steady=False),
    "waiting-1000": Scene(is_steady=True, num_waiting=1000),
    "waiting-10000": Scene(is_steady=True, num_waiting=10_000),
    "idle-1000": Scene(is_steady=False, num_idle=1000),
}
CROWDS = ("waiting-1000", "waiting-10000", "idle-1000")  # for one preset and size


class TimedDevice(ModelledDevice):
    """Knows how much real time its own code has taken."""

    spent_s = 0.0

    def execute(self, batch: Batch) -> list[int | None]:
        began_at = time.thread_time()
        tokens = super().execute(batch)
        self.spent_s += time.thread_time() - began_at
        return tokens


class Arm:
    """An engine with a constant number of live requests, those that find no room not counted."""

    def __init__(self, preset: str, scene: str, num_live: int) -> None:
        self.name = f"{preset} {scene} {num_live}"
        self.rounds: list[list[float]] = []
        self._scene = SCENES[scene]
        self._is_steady = self._scene.is_steady
        self._num_live = num_live
        self._rng = np.random.default_rng(11)
        core = self.core_settings(preset, num_live)
        self.clock = VirtualClock()
        self.device = TimedDevice(
            load_profile("a10-llama3-8b"),
            self.clock,
            block_size=BLOCK_SIZE,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
            layout=core.mechanisms.layout,
            copy=core.mechanisms.copy,
        )
        self.engine = Engine(core, self.device, clock=self.clock.now, priorities=self._priorities())
        self._serial = itertools.count()
        self._leave_contexts(core.swap_tokens)
        self._waiting = [self.new_request() for _ in range(num_live + self._scene.num_waiting)]

    def core_settings(self, preset: str, num_live: int) -> CoreSettings:
        return core_settings(preset, num_live, is_steady=self._is_steady)

    def run_round(self, num_steps: int) -> None:
        self.rounds.append([self.step() for _ in range(num_steps)])

    def warm_up(self) -> None:
        """Until nobody is in prefill any more, and then some."""
        limit = 20 * self._num_live
        for _ in range(limit):
            self.step()
            if self.engine.stats.num_running == self._num_live or not self._is_steady:
                break
        for _ in range(WARM_UP_STEPS):
            self.step()

    def _leave_contexts(self, num_tokens: int) -> None:
        """Keeps copies of idle conversations until the host pool is full."""
        for i in range(self._scene.num_idle):
            request = Request(
                request_id=f"idle{i}",
                prompt_token_ids=[0] * (num_tokens // self._scene.num_idle),
                sampling=SamplingParams(max_tokens=1, ignore_eos=True),
                arrived_at=self.clock.now(),
                conversation_id=f"idle{i}",
            )
            self.engine.submit(request)
            while self.engine.has_work:
                self.engine.step()

    def step(self) -> float:
        """Seconds of one step and of the arrivals before it, without the device's."""
        arrivals, self._waiting = self._waiting, []
        device_s = self.device.spent_s
        began_at = time.thread_time()
        for request in arrivals:
            self.engine.submit(request)
        outputs = self.engine.step()
        seconds = time.thread_time() - began_at - (self.device.spent_s - device_s)
        num_finished = sum(output.finish_reason is not None for output in outputs)
        self._waiting = [self.new_request() for _ in range(num_finished)]
        return seconds

    def new_request(self) -> Request:
        rng, serial = self._rng, next(self._serial)
        num_prompt = int(rng.integers(CONTEXT_TOKENS // 2, CONTEXT_TOKENS))
        num_output = 10**5 if self._is_steady else int(rng.integers(64, CONTEXT_TOKENS))
        return Request(
            request_id=f"r{serial}",
            prompt_token_ids=rng.integers(0, 8000, num_prompt).tolist(),
            sampling=SamplingParams(max_tokens=num_output, ignore_eos=True),
            arrived_at=self.clock.now(),
            conversation_id=f"c{serial % (2 * self._num_live)}",
        )

    def _priorities(self) -> PriorityUpdates | None:
        if self._is_steady:
            return None
        names = [f"c{i}" for i in range(2 * self._num_live)]
        levels = self._rng.integers(0, 8, (256, len(names)), dtype=np.uint8)
        return PriorityUpdates(update_frequency=0.04, conversation_ids=names, levels=levels)


def core_settings(preset: str, num_live: int, *, is_steady: bool) -> CoreSettings:
    # Steady: room for all to decode through the longest benchmark. Churn: room for about half.
    pool_tokens = (10**5 + num_live * 4096) if is_steady else num_live * CONTEXT_TOKENS // 2
    return CoreSettings(
        mechanisms=PRESETS[preset],
        block_size=BLOCK_SIZE,
        kv_tokens=pool_tokens,
        swap_tokens=10 * pool_tokens,
        max_batch_tokens=2048,
        max_num_seqs=num_live,
    )


def _measure(arms: Sequence[Arm], num_rounds: int) -> None:
    for arm in arms:
        arm.warm_up()
    gc.collect()
    gc.freeze()  # what the arms hold is not walked while one of them is timed
    for _ in range(num_rounds):
        for arm in arms:
            arm.run_round(STEPS_PER_ROUND)


def _numbers(arm: Arm) -> dict[str, float]:
    seconds = sorted(itertools.chain(*arm.rounds))
    medians = [statistics.median(each) for each in arm.rounds]
    return {
        "num_steps": len(seconds),
        "median_s": statistics.median(seconds),
        "p99_s": seconds[int(0.99 * (len(seconds) - 1))],
        "lowest_round_median_s": min(medians),
        "highest_round_median_s": max(medians),
        "num_preemptions": arm.engine.stats.num_preemptions,
    }


def _show(results: dict[str, dict[str, float]]) -> None:
    names = ("median_s", "lowest_round_median_s", "highest_round_median_s", "p99_s")
    print_table(
        ["arm, scene, live requests", "median ms", "lowest", "highest", "P99 ms", "preemptions"],
        [
            [arm, *(f"{row[name] * 1e3:.3f}" for name in names), row["num_preemptions"]]
            for arm, row in results.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--scenes", nargs="+", default=["steady", "churn"], choices=SCENES)
    parser.add_argument("--crowds", nargs="*", default=list(CROWDS), choices=SCENES)
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    keys = [
        *itertools.product(args.arms, args.scenes, args.sizes),
        *itertools.product(["fastswitch"], args.crowds, [256]),
    ]
    arms = [Arm(*key) for key in keys]
    _measure(arms, args.rounds)
    results = {arm.name: _numbers(arm) for arm in arms}
    _show(results)
    if not args.dry:
        settings = {"rounds": args.rounds, "steps_per_round": STEPS_PER_ROUND}
        print(write_result("bookkeeping", settings=settings, results=results))


if __name__ == "__main__":
    main()
