"""How contiguous KV still is after long use: blocks per copy of swap-outs and swap-ins.

    python -m benchmarks.contiguity [--operations 10000]

Conversations of ShareGPT-like lengths decode side by side, a block at a time, on a device pool of
2,048 blocks of 16 tokens that is filled to about 95 %, with a host pool ten times as large at 85 %.
Every 32 tokens (about the 25 steps of update frequency 0.04) a quarter of those on the device is
swapped out for others; turns end, and conversations come back. Counted are the copies after the
host has filled up and 10,000 further allocations, frees and swaps, over the next 10,000.

A copy moves neighbours on BOTH sides in one piece (`copy: merged`), so `paged` is shown with every
chance it has; under `copy: per_block` it is 1 by definition. `move` swaps whole contexts
(`reuse: host_swap`); `keep` swaps out the increments alone (`reuse: host_copy`), which are shorter,
so that fewer blocks go with a copy although fewer copies are made. Read `copies/swap` beside it: 1
is the least there can be, and blocks/copy can not exceed blocks/swap.

Bookkeeping alone: no model, no bytes, no torch.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, cast

from benchmarks.results import print_table, write_result
from engines.core.allocators import ALLOCATORS
from engines.core.kv_cache import KvCache
from engines.core.request import Phase, Request
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, Allocator, CoreSettings, GroupVictim
from engines.core.swap import Swapper
from engines.simulated.device import ModelledDevice, VirtualClock
from engines.simulated.profile import load_profile
from workloads.shapes import TurnShape
from workloads.sharegpt_like import sharegpt_like_conversations

BLOCK_SIZE = 16
DEVICE_BLOCKS = 2048  # 32,768 tokens: an A10 beside Llama-3-8B
HOST_RATIO = 10
USUAL_OCCUPANCY = 0.95
LOWER_OCCUPANCY = 0.8  # to show what the lack of room costs
HOST_OCCUPANCY = 0.85
MAX_CONTEXT_TOKENS = 4096
ROUNDS_PER_UPDATE = 2  # of 16 tokens for everybody: about the 25 steps of frequency 0.04
SWAPPED_RATIO = 0.25  # of those who hold the device, at each update
GROUP_TOKENS = (64, 256, 1000, 3000)
SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    allocator: str
    keeps_copies: bool
    group_tokens: int = 1000
    group_victim: GroupVictim = "random"
    occupancy: float = USUAL_OCCUPANCY  # of the device pool

    @property
    def name(self) -> str:
        words: list[object] = [self.allocator]
        if self.allocator == "block_group":
            words += [self.group_tokens, *([self.group_victim] * (self.group_victim != "random"))]
        return " ".join(map(str, words))


@dataclass(slots=True)
class Moved:
    """What was moved in one direction."""

    num_swaps: int = 0
    num_blocks: int = 0
    num_runs: int = 0


class Conversation:
    """Its request's context grows from turn to turn."""

    def __init__(self, request_id: str, turns: tuple[TurnShape, ...]) -> None:
        self.request = Request(
            request_id=request_id,
            prompt_token_ids=[],
            sampling=SamplingParams(max_tokens=MAX_CONTEXT_TOKENS),
            arrived_at=0.0,
        )
        self._turns = list(turns)
        self.num_left = 0  # output tokens of this turn

    def next_turn(self) -> bool:
        """Append the next prompt; False at the conversation's end."""
        if not self._turns:
            return False
        turn = self._turns.pop(0)
        self.num_left = turn.num_output_tokens
        total = self.request.num_tokens + turn.num_new_prompt_tokens + turn.num_output_tokens
        if total > MAX_CONTEXT_TOKENS:
            return False
        self.request.prompt_token_ids += [0] * turn.num_new_prompt_tokens
        return True

    def decode(self, num_tokens: int) -> None:
        num_tokens = min(num_tokens, self.num_left)
        self.num_left -= num_tokens
        self.request.output_token_ids += [0] * num_tokens


class Bench:
    """Conversations that decode, are swapped and end at random, on the engine's own KV cache."""

    def __init__(self, design: Design, seed: int) -> None:
        core = _core_settings(design)
        clock = VirtualClock()
        device = ModelledDevice(
            load_profile("a10-llama3-8b"),
            clock,
            block_size=BLOCK_SIZE,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
            layout=core.mechanisms.layout,
            copy=core.mechanisms.copy,
        )
        self._margin = round(DEVICE_BLOCKS * (1 - design.occupancy))
        self._swapper = Swapper(
            device,
            "merged",
            clock.now,
            is_sync=True,
            on_stall=lambda began_at, ended_at: None,
            on_landed=lambda request, transfer: None,
        )
        self._kv = KvCache(core, self._swapper, keeps_copies=design.keeps_copies)
        self.moved = {"out": Moved(), "in": Moved()}
        self.num_operations = 0
        self.occupancies: list[float] = []
        self._rng = random.Random(seed)
        self._shapes = enumerate(sharegpt_like_conversations(seed))
        self._running: list[Conversation] = []
        self._outside: list[Conversation] = []  # preempted, or between two turns

    def run(self, num_operations: int) -> None:
        """Plays so many more allocations, frees and swaps."""
        stop = self.num_operations + num_operations
        while self.num_operations < stop:
            for _ in range(ROUNDS_PER_UPDATE):
                self._decode()
                self._fill()
            for _ in range(round(SWAPPED_RATIO * len(self._running))):
                self._swap_out(self._rng.choice(self._running))
            self._fill()
            self.occupancies.append(1 - self._kv.device.num_free / DEVICE_BLOCKS)

    def fill_host(self) -> None:
        while self._host_has_room():
            self.run(100)

    def check(self) -> None:
        requests = [each.request for each in [*self._running, *self._outside]]
        device = [block for request in requests for block in request.device_blocks]
        self._kv.device.check_integrity(device)
        copies = [request.host_copy for request in requests if request.host_copy is not None]
        self._kv.host.check_integrity([block for copy in copies for block in copy.blocks])

    def _decode(self) -> None:
        """Gives everybody a block's worth of tokens, one after the other."""
        for each in list(self._running):
            if each.request.phase is not Phase.RUNNING:
                continue  # swapped out for another's sake
            each.decode(BLOCK_SIZE)
            while self._kv.blocks_missing(each.request) > self._kv.device.num_free:
                self._swap_out(self._rng.choice([one for one in self._running if one is not each]))
            self._compute(each)
            if each.num_left == 0:
                self._end_turn(each)

    def _fill(self) -> None:
        """Somebody comes in, while the device is less full than it should be."""
        while (newcomer := self._newcomer()) is not None:
            room = self._kv.device.num_free - self._margin
            if self._kv.blocks_missing(newcomer.request) > room:
                self._outside.append(newcomer)
                return
            self._swap_in(newcomer)

    def _newcomer(self) -> Conversation | None:
        """A new conversation while the host has room for more, else one from outside."""
        if self._host_has_room():
            serial, shape = next(self._shapes)
            newcomer = Conversation(f"c{serial}", shape.turns)
            return newcomer if newcomer.next_turn() else None
        return self._outside.pop(self._rng.randrange(len(self._outside)))

    def _host_has_room(self) -> bool:
        host = self._kv.host
        return host.num_free > host.num_blocks * (1 - HOST_OCCUPANCY + 0.01)

    def _compute(self, each: Conversation) -> None:
        self.num_operations += self._kv.blocks_missing(each.request) > 0
        self._kv.grow(each.request, self._kv.blocks_missing(each.request))
        each.request.num_computed = each.request.num_tokens

    def _end_turn(self, each: Conversation) -> None:
        self._swap_out(each)
        if not each.next_turn():
            self._discard(each)

    def _discard(self, each: Conversation) -> None:
        self._outside.remove(each)
        self._kv.discard(each.request)
        self.num_operations += 1

    def _swap_in(self, each: Conversation) -> None:
        had_copy = each.request.host_copy is not None
        self._kv.bring_in(each.request)
        self._running.append(each)
        self._count("in", had_copy)
        self._compute(each)

    def _swap_out(self, each: Conversation) -> None:
        margin = self._kv.host.num_blocks * (1 - HOST_OCCUPANCY)
        while self._kv.host_blocks_missing(each.request) > self._kv.host.num_free - margin:
            self._discard(self._rng.choice(self._outside))
        self._kv.swap_out(each.request)
        self._running.remove(each)
        self._outside.append(each)
        self._count("out", True)

    def _count(self, direction: str, is_swap: bool) -> None:
        self.num_operations += 1
        costs, moved = self._swapper.take_costs(), self.moved[direction]
        moved.num_swaps += is_swap
        moved.num_blocks += costs.num_swap_out_blocks + costs.num_swap_in_blocks
        moved.num_runs += costs.num_copy_runs


def _core_settings(design: Design) -> CoreSettings:
    mechanisms = PRESETS["fastswitch" if design.keeps_copies else "vllm-0.3+groups"]
    return CoreSettings(
        mechanisms=replace(mechanisms, allocator=cast(Allocator, design.allocator)),
        block_size=BLOCK_SIZE,
        kv_tokens=DEVICE_BLOCKS * BLOCK_SIZE,
        swap_tokens=DEVICE_BLOCKS * BLOCK_SIZE * HOST_RATIO,
        max_batch_tokens=2048,
        max_num_seqs=256,
        group_tokens=design.group_tokens,
        group_victim=design.group_victim,
    )


def _designs() -> list[Design]:
    designs = []
    for keeps_copies in (False, True):
        designs += [
            Design(allocator="paged", keeps_copies=keeps_copies),
            Design(allocator="sorted", keeps_copies=keeps_copies),
            *(
                Design(allocator="block_group", keeps_copies=keeps_copies, group_tokens=tokens)
                for tokens in GROUP_TOKENS
            ),
            Design(
                allocator="block_group",
                keeps_copies=keeps_copies,
                group_victim="least_progress",
            ),
            *(
                Design(allocator=name, keeps_copies=keeps_copies, occupancy=LOWER_OCCUPANCY)
                for name in ALLOCATORS
            ),
        ]
    return designs


def _measure(design: Design, seed: int, num_operations: int) -> dict[str, float]:
    bench = Bench(design, seed)
    bench.fill_host()
    bench.run(num_operations)
    bench.moved = {"out": Moved(), "in": Moved()}
    bench.occupancies = []
    bench.run(num_operations)
    bench.check()
    numbers: dict[str, float] = {"device_occupancy_ratio": fmean(bench.occupancies)}
    for direction, moved in bench.moved.items():
        numbers[f"{direction}_num_swaps"] = moved.num_swaps
        numbers[f"{direction}_num_runs"] = moved.num_runs
        numbers[f"{direction}_blocks_per_swap"] = moved.num_blocks / moved.num_swaps
        numbers[f"{direction}_blocks_per_copy"] = moved.num_blocks / moved.num_runs
        numbers[f"{direction}_copies_per_swap"] = moved.num_runs / moved.num_swaps
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    results = []
    for design in _designs():
        each_seed = [_measure(design, seed, args.operations) for seed in SEEDS]
        means = {name: fmean(one[name] for one in each_seed) for name in each_seed[0]}
        names = ("out_blocks_per_copy", "in_blocks_per_copy")
        spread = {name: [f([one[name] for one in each_seed]) for f in (min, max)] for name in names}
        context = "keep" if design.keeps_copies else "move"
        results.append({"design": design.name, "host_copies": context, **means, "spread": spread})
    _show(results)
    if not args.dry:
        settings = {"operations": args.operations, "seeds": SEEDS}
        print(write_result("contiguity", settings=settings, results=results))


def _show(results: list[dict[str, Any]]) -> None:
    header = ["design", "occupied", "host copies"]
    for direction in ("out", "in"):
        header += [f"{direction}: blocks/swap", "blocks/copy", "of 3 seeds", "copies/swap"]
    print_table(
        header,
        [
            [
                row["design"],
                f"{row['device_occupancy_ratio']:.2f}",
                row["host_copies"],
                *(cell for direction in ("out", "in") for cell in _cells(row, direction)),
            ]
            for row in results
        ],
    )


def _cells(row: dict[str, Any], direction: str) -> list[str]:
    return [
        f"{row[f'{direction}_blocks_per_swap']:.1f}",
        f"{row[f'{direction}_blocks_per_copy']:.1f}",
        "{:.1f}-{:.1f}".format(*row["spread"][f"{direction}_blocks_per_copy"]),
        f"{row[f'{direction}_copies_per_swap']:.1f}",
    ]


if __name__ == "__main__":
    main()
