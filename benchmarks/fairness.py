"""How many users does each policy keep within SLO, over which mechanisms, and who pays?

    python -m benchmarks.fairness --minutes 60       # goes on where it was; results/fairness.json
    python -m benchmarks.fairness --scenes "a10-8b light" --seeds 6 --arms "fastswitch + slo"
    python -m benchmarks.fairness --minutes 0        # only sums up what was played

Virtual time: no GPU. A cell is one arm, seed and rate; its numbers go to
results/fairness_cells.jsonl at once, so a run may be stopped at any instant and goes on. Rates are
1.1^k conversations a second. For each scene, arm and seed it looks for the two neighbouring rates
between which the share of users within SLO falls below its target; the capacity lies between them,
by linear interpolation on the log scale. Arms share their seeds' plans, so ratios are paired;
intervals are Student's over the seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median

from benchmarks.fairness_arms import (
    ARMS,
    CAPACITY_SCENES,
    FIXED_SCENES,
    REFERENCE,
    Scene,
)
from benchmarks.fairness_cells import Cell, Cells, play
from benchmarks.fairness_summary import show, summary
from benchmarks.results import DIRECTORY, write_result

NUM_CONVERSATIONS = 400
FIRST_SEED = 101  # no policy was tuned on these
STEP = 1.1
MOST_CELLS = 14  # of one search


@dataclass(frozen=True, slots=True)
class Goal:
    share: str  # which of a cell's shares
    target: float


GOALS = (
    Goal("users_within_slo", 0.9),
    Goal("users_within_slo_uncapped", 0.9),
    Goal("users_within_slo", 0.95),
)


def next_place(shares: dict[int, float], target: float, guess: int) -> int | None:
    """Returns where to look next for the highest place at which a share reaches its target; None
    once its neighbour above is known to fail. Steps grow until the crossing lies between two."""
    holds = [place for place, share in shares.items() if share >= target]
    fails = [place for place, share in shares.items() if share < target]
    if not shares:
        return guess
    if not holds:
        return min(fails) - len(fails)
    above = [place for place in fails if place > max(holds)]
    if not above:
        return max(holds) + len(holds)
    return None if min(above) == max(holds) + 1 else (min(above) + max(holds)) // 2


def crossing(shares: dict[int, float], target: float) -> float | None:
    """Returns the rate at which the share falls below its target; None where it was not found."""
    holds = [place for place, share in shares.items() if share >= target]
    if not holds or max(holds) + 1 not in shares:
        return None
    place = max(holds)
    above, below = shares[place], shares[place + 1]
    return float(STEP ** (place + (above - target) / (above - below)))


def place_of(rate: float) -> int:
    return round(log(rate) / log(STEP))


def searches(
    cells: Cells, goals: Sequence[Goal], scenes: list[str], arms: list[str], seeds: list[int]
) -> Iterator[Cell]:
    """Yields the cells that are missing, in the order of their worth: the first goal of all arms
    and seeds of a scene before the next. Each is to be played before the next is asked for."""
    for goal in goals:
        for scene in scenes:
            for seed in seeds:
                for arm in arms:
                    yield from _search(cells, scene, arm, seed, goal)


def _search(cells: Cells, scene: str, arm: str, seed: int, goal: Goal) -> Iterator[Cell]:
    for _ in range(MOST_CELLS):
        shares = cells.shares(scene, arm, seed, goal.share)
        place = next_place(shares, goal.target, _guess(cells, scene, arm, goal))
        if place is None:
            return
        yield Cell(scene=scene, arm=arm, seed=seed, place=place, rate=STEP**place)


def _guess(cells: Cells, scene: str, arm: str, goal: Goal) -> int:
    """Returns where other seeds of this arm crossed; else about where the scene's reference does,
    times what the arm was worth in another scene."""
    if found := _usual(cells, scene, arm, goal):
        return place_of(found)
    rate = _usual(cells, scene, REFERENCE, goal) or CAPACITY_SCENES[scene].rate
    worth = [
        mine / base
        for other in CAPACITY_SCENES
        if (mine := _usual(cells, other, arm, goal))
        and (base := _usual(cells, other, REFERENCE, goal))
    ]
    return place_of(rate * (worth[0] if worth else 1.0))


def _usual(cells: Cells, scene: str, arm: str, goal: Goal) -> float | None:
    """Returns the median over the seeds that crossed; None where none did yet."""
    found = [
        rate
        for seed in cells.seeds(scene, arm)
        if (rate := crossing(cells.shares(scene, arm, seed, goal.share), goal.target))
    ]
    return median(found) if found else None


def fixed(cells: Cells, seeds: list[int]) -> Iterator[Cell]:
    """Yields the missing cells of the scenes at one rate."""
    for seed in seeds:
        for name, scene in FIXED_SCENES.items():
            for arm in scene.arms:
                place = place_of(scene.rate)
                if place not in cells.shares(name, arm, seed, "users_within_slo"):
                    yield Cell(scene=name, arm=arm, seed=seed, place=place, rate=STEP**place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="at most, for new cells")
    parser.add_argument("--scenes", nargs="*", default=list(CAPACITY_SCENES))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS, metavar="ARM")
    parser.add_argument("--goals", type=int, default=len(GOALS), help="the first so many")
    parser.add_argument("--only-fixed", action="store_true", help="the scenes at one rate")
    parser.add_argument("--num-conversations", type=int, default=NUM_CONVERSATIONS)
    parser.add_argument("--folder", type=Path, default=DIRECTORY)
    args = parser.parse_args()
    seeds = list(range(FIRST_SEED, FIRST_SEED + args.seeds))
    cells = Cells(args.folder / "fairness_cells.jsonl")
    wanted = (
        fixed(cells, seeds)
        if args.only_fixed
        else searches(cells, GOALS[: args.goals], args.scenes, args.arms, seeds)
    )
    until = time.monotonic() + 60 * args.minutes
    scenes: dict[str, Scene] = {**CAPACITY_SCENES, **FIXED_SCENES}
    for cell in wanted:
        if time.monotonic() > until:
            break
        found = play(cell, scenes[cell.scene], args.num_conversations)
        cells.add(cell, found)
        shown = f"{found['users_within_slo']:.3f} ({found['users_within_slo_uncapped']:.3f})"
        print(f"{cell.scene} {cell.arm} {cell.seed} {cell.rate:.4f}: {shown}", flush=True)
    results = summary(cells, GOALS, crossing)
    settings = {"num_conversations": args.num_conversations, "step": STEP, "seeds": seeds}
    path = write_result("fairness", settings=settings, results=results, folder=args.folder)
    show(results)
    print(path)


if __name__ == "__main__":
    main()
