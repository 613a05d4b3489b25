"""How often the 95 % intervals hold the true value: by simulation, where the truth is known.

    python -m benchmarks.coverage [--trials 2000] [--only TEXT]

**Criterion.** An end misses in 2.5 %: so an interval that is closed holds the truth in 95 %, one
with an open end in 97.5 %, and one that is open on both sides says nothing. `nominal` of a scene is
1 − 2.5 % for each end that was closed, averaged over its trials. Met is what is at most 2 points
off: 93 to 97 % where all are closed, 95.5 to 99.5 % where all have an open end. `se` is the
standard error of `covered`, which chance alone moves by twice as much in either direction. `low
missed` and `high missed`: how often the truth lay beyond that end; a gate looks at one of them.

Shapes (coverage_scenes.py) are not one distribution: log-normal, Pareto with tail index 2, two
classes of users, stalls; and for shares of users, from nearly all whole to some who starve. Of
independent samples one distribution is as good as another, for only their ranks matter. `naive`
takes all samples as independent, which is what clusters are for; it and intervals of fewer than 20
users are shown for what they are, not demanded. Values that many users share (P5) make an interval
hold more often than stated, never less.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.coverage_scenes import (
    GAPS,
    RATIOS,
    TURNS,
    Trial,
    between_runs,
    independent,
    lognormal,
    mean,
    mean_ratio,
    pareto,
    percentile,
    percentile_ratio,
    unpaired_ratio,
)
from benchmarks.coverage_users import (
    OF_USERS,
    USERS,
    of_users,
    ratio_of_users,
    share,
    share_of_turns,
    share_ratio,
)
from benchmarks.results import print_table, write_result

TOLERANCE = 0.02
NOT_DEMANDED = (", naive", " 10 users")
P5_ABOVE_0 = ("beta", "mostly whole")  # with both engines, so that there is a ratio
END_MISSED = 0.025
SEED = 7


def scenes() -> Iterator[tuple[str, Trial]]:
    for name, ppf in (("log-normal", lognormal), ("Pareto", pareto)):
        for level, num in ((0.5, 200), (0.95, 500), (0.99, 500), (0.99, 5000)):
            scene = f"independent {_name(level)}, {name}, {num:,} samples"
            yield scene, independent(ppf, num, level)
    yield from _of_conversations()
    for num in (50, 200):
        for name, make in RATIOS.items():
            yield f"paired ratio of mean, {name}, {num} conversations", mean_ratio(make, num)
        for q in (0.5, 0.95, 0.99):
            yield f"paired ratio of {_name(q)}, {num} conversations", percentile_ratio(num, q)
    for q in (None, 0.5, 0.95):
        yield f"unpaired ratio of {_name(q)}, 200 conversations", unpaired_ratio(200, q)
    for num in (3, 6):
        yield f"between {num} runs", between_runs(num)
    for num in (10, 20, 40, 100, 200):
        yield f"share of users, {num} users", share(num)
    for num in (20, 40, 200):
        yield f"share of turns, {num} users", share_of_turns(num)
    yield from _of_users()


def _of_users() -> Iterator[tuple[str, Trial]]:
    for num in (20, 40, 200):
        for alike, better, worse in ((0.7, 0.9, 0.7), (0.7, 0.6, 0.3), (0.9, 0.97, 0.9)):
            scene = f"paired ratio of shares {better:g} and {worse:g}, {num} users"
            yield scene, share_ratio(num, alike=alike, better=better, worse=worse)
    for statistic in OF_USERS:
        for name, users in USERS.items():
            for num in (10, 20, 40, 200):
                yield f"{statistic}, {name}, {num} users", of_users(users, statistic, num)
            for num in (20, 40, 200):
                if statistic != "P5 attainment" or (num == 200 and name in P5_ABOVE_0):
                    scene = f"paired ratio of {statistic}, {name}, {num} users"
                    yield scene, ratio_of_users(name, statistic, num)


def _of_conversations() -> Iterator[tuple[str, Trial]]:
    for what, shapes, levels in (("turns", TURNS, (0.5, 0.95, 0.99)), ("gaps", GAPS, (0.5, 0.99))):
        for name, make in shapes.items():
            for num in (50, 200, 1000):
                for q in levels:
                    scene = f"{what} {_name(q)}, {name}, {num} conversations"
                    yield scene, percentile(make, num, q)
                    if name == "log-normal" and num == 200:
                        yield f"{scene}, naive", percentile(make, num, q, is_naive=True)
            for num in (50, 200):
                yield f"{what} mean, {name}, {num} conversations", mean(make, num)


def _name(q: float | None) -> str:
    return "mean" if q is None else f"P{100 * q:g}"


def coverage(num_trials: int, scene: str) -> dict[str, Any]:
    """Shares of the trials, as the module's docstring has them."""
    trial = dict(scenes())[scene]
    low_missed = high_missed = num_held = num_open = num_closed_ends = 0
    for number in range(num_trials):
        interval, truth = trial(np.random.default_rng([SEED, number]))
        assert interval is not None
        ends = [each for each in (interval.low, interval.high) if each is not None]
        is_low_missed = interval.low is not None and interval.low > truth
        is_high_missed = interval.high is not None and interval.high < truth
        low_missed += is_low_missed
        high_missed += is_high_missed
        num_held += not (is_low_missed or is_high_missed)
        num_open += len(ends) < 2
        num_closed_ends += len(ends)
    covered = num_held / num_trials
    nominal = 1 - END_MISSED * num_closed_ends / num_trials
    return {
        "coverage": covered,
        "standard_error": sqrt(covered * (1 - covered) / num_trials),
        "nominal": nominal,
        "is_met": abs(covered - nominal) <= TOLERANCE + 1e-9 if num_closed_ends else None,
        "low_missed": low_missed / num_trials,
        "high_missed": high_missed / num_trials,
        "open_ratio": num_open / num_trials,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--only", default="", help="scenes with this text; writes no result")
    arguments = parser.parse_args()
    names = [name for name, _ in scenes() if arguments.only in name]
    results: dict[str, dict[str, Any]] = {}
    header = ("truth held by", "covered", "se", "nominal", "low missed", "high missed", "open")
    keys = ("coverage", "standard_error", "nominal", "low_missed", "high_missed", "open_ratio")
    with ProcessPoolExecutor() as pool:  # each scene draws by its trial's number alone
        in_order = pool.map(partial(coverage, arguments.trials), names)
        for name, found in zip(names, in_order, strict=True):
            results[name] = found
            found["is_demanded"] = not any(text in name for text in NOT_DEMANDED)
            remark = " - not met" if found["is_demanded"] and found["is_met"] is False else ""
            row = (f"{name + remark:65}", *(f"{found[key]:11.1%}" for key in keys))
            print_table(header, [row], has_header=len(results) == 1)
    judged = [each["is_met"] for each in results.values() if each["is_demanded"]]
    print(f"met: {judged.count(True)}, not met: {judged.count(False)}, open: {judged.count(None)}")
    if not arguments.only:
        write_result("coverage", settings={"trials": arguments.trials}, results=results)


if __name__ == "__main__":
    main()
