"""How often is a capacity found in wall time wrong? Its looks, where the long run is known.

    python -m benchmarks.capacity_looks [--workload benchmarks/capacity.yaml] [--seeds 10]

A workload's twin in virtual time (benchmarks/twin.py) is played at every rate of the lattice around
its capacity: once at length, which gives the share of users within SLO in the long run, and then
under many seeds, whose records are looked at as the search in wall time looks at those of a server,
instant by instant, until it would have stopped. Printed for each rate: the true share, how often
the looks said that the target holds, that it does not, or nothing, and after how many users. Then
searches are drawn from those answers: how often does the bracket hold the true crossing?
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.results import print_table, write_result
from benchmarks.twin import twin
from suite.measuring.outcomes import outcomes_of
from suite.playing.simulate import simulate
from suite.playing.workload import Workload, resolve_workload
from suite.records.turn_table import TurnTable, read_turns
from suite.statistics.sequential import HIT
from suite.sweep.capacity_request import CapacityRequest
from suite.sweep.crossing import Answer, Crossing, Search
from suite.sweep.lattice import Lattice
from suite.sweep.rate_judges import ShareInTheLongRun
from suite.sweep.rate_look import look_at
from workloads.source import WorkloadSource
from workloads.yaml_file import Setting, read_yaml

TARGET = 0.9
TOLERANCE = 0.1
NUM_LONG = 800  # conversations, of which the second half counts
NUM_INSTANTS = 60  # at which a run is looked at
NUM_SEARCHES = 2000
STRIDE = 4  # places: 1.5 times


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    answer: Answer
    num_users: int


def played(source: WorkloadSource, **changes: object) -> tuple[TurnTable, Workload]:
    """Returns the turns of a run in virtual time, with the settings laid over the file."""
    settings = [
        Setting(key=key.replace("__", "."), value=value, where="benchmark")
        for key, value in changes.items()
    ]
    workload = resolve_workload(source.having(*settings))
    (engine,) = workload.engines.values()
    with tempfile.TemporaryDirectory() as folder:
        simulate(workload.plan, engine, Path(folder))
        return read_turns([(1, Path(folder))]), workload


def long_run(source: WorkloadSource, rate: float, seed: int) -> float:
    """Returns the share of users within SLO once the start is forgotten."""
    turns, workload = played(source, arrivals__rate=rate, seed=seed, conversations__count=NUM_LONG)
    outcome = outcomes_of(turns, workload.plan).outcome
    return float((outcome[NUM_LONG // 2 :] == HIT).mean())


def decision(source: WorkloadSource, rate: float, seed: int, judge: ShareInTheLongRun) -> Decided:
    """Returns what a search in wall time would have said of that run, and after how many users."""
    turns, workload = played(
        source, arrivals__rate=rate, seed=seed, **_with_underscores(judge.changes(rate))
    )
    look, looks = None, judge.looks(rate)
    for instant in np.linspace(0, float(turns.done_at.max()), NUM_INSTANTS + 1)[1:]:
        look = look_at(turns.where(turns.done_at <= instant), workload.plan, looks)
        if look.answer is not Answer.UNSURE:
            break
    assert look is not None
    return Decided(answer=look.answer, num_users=look.num_users)


def _with_underscores(changes: Mapping[str, object]) -> dict[str, object]:
    return {key.replace(".", "__"): value for key, value in changes.items()}


def searched(
    answers: Mapping[int, list[Decided]], start: int, rng: np.random.Generator
) -> tuple[Crossing, int]:
    """Returns where a search ends whose questions are answered by runs drawn from those made."""
    search = Search(start, low=min(answers), high=max(answers), stride=STRIDE)
    num_users = 0
    while search.place is not None:
        drawn = answers[search.place][rng.integers(len(answers[search.place]))]
        num_users += drawn.num_users
        search.tell(drawn.answer)
    return search.crossing, num_users


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = Path(__file__).parent
    parser.add_argument("--workload", type=Path, default=here / "capacity.yaml")
    parser.add_argument("--engine", default="fastswitch")
    parser.add_argument("--low", type=float, default=3.4, help="conversations per second")
    parser.add_argument("--high", type=float, default=5.7)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    raw = read_yaml(args.workload)
    raw["engines"] = {args.engine: raw["engines"][args.engine]}
    raw |= {"baseline": None, "gates": []}
    source = WorkloadSource(path=args.workload, raw=twin(raw), settings=())
    lattice = Lattice(tolerance_ratio=TOLERANCE)
    request = CapacityRequest(
        target_ratio=TARGET, num_seeds=1, tolerance_ratio=TOLERANCE, low=None, high=None
    )
    judge = ShareInTheLongRun(request, resolve_workload(source), args.low)
    rates, answers = [], {}
    for place in range(lattice.at_most(args.low), lattice.at_least(args.high) + 1):
        rate = lattice.rate(place)
        shares = [long_run(source, rate, seed) for seed in (1, 2)]
        found = [decision(source, rate, 100 + seed, judge) for seed in range(args.seeds)]
        answers[place] = found
        rates.append(told := _rate_told(rate, shares, found))
        _show(told, is_first=len(rates) == 1)
    searches = _searches(answers, {p: r["share"] for p, r in zip(answers, rates, strict=True)})
    print(searches)
    if not args.dry:
        settings = {key: str(value) for key, value in vars(args).items() if key != "dry"}
        name = f"capacity_looks_{raw['name']}"
        write_result(name, settings=settings, results={"rates": rates, "searches": searches})


def _rate_told(rate: float, shares: list[float], found: list[Decided]) -> dict[str, float]:
    told = {each.value: np.mean([one.answer is each for one in found]) for each in Answer}
    return {
        "rate": rate,
        "share": float(np.mean(shares)),
        **{name: float(ratio) for name, ratio in told.items()},
        "num_users": float(np.mean([each.num_users for each in found])),
    }


def _show(told: dict[str, float], *, is_first: bool) -> None:
    header = ["rate", "long run", "holds", "does not", "not told", "users"]
    row = [f"{told['rate']:.3g}".ljust(6), f"{told['share']:.1%}".rjust(8)]
    row += [f"{told[name]:.0%}".rjust(8) for name in ("holds", "fails", "unsure")]
    print_table(header, [[*row, f"{told['num_users']:.0f}".rjust(5)]], has_header=is_first)


def _searches(
    answers: Mapping[int, list[Decided]], share: Mapping[int, float]
) -> dict[str, float | int]:
    """Returns how often the bracket of a search holds the true crossing, and what it cost."""
    last = max(place for place, each in share.items() if each >= TARGET)
    rng = np.random.default_rng(7)
    places = list(answers)
    ends, users = [], []
    for _ in range(NUM_SEARCHES):
        crossing, num_users = searched(answers, int(rng.choice(places)), rng)
        ends.append((crossing.holds, crossing.fails))
        users.append(num_users)
    too_high = np.mean([low is not None and low > last for low, _ in ends])
    too_low = np.mean([high is not None and high <= last for _, high in ends])
    steps = [high - low for low, high in ends if low is not None and high is not None]
    return {
        "num_searches": NUM_SEARCHES,
        "holds_crossing_ratio": float(1 - too_high - too_low),
        "lower_end_too_high_ratio": float(too_high),
        "by_more_than_a_step_ratio": float(
            np.mean([low is not None and low > last + 1 for low, _ in ends])
        ),
        "upper_end_too_low_ratio": float(too_low),
        "mean_steps_between": float(np.mean(steps)) if steps else 0.0,
        "mean_users": float(np.mean(users)),
    }


if __name__ == "__main__":
    main()
