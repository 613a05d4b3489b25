"""The users one by one: how each was served, and the worst of them for metrics.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from suite.measuring.attainment import Attainment
from suite.measuring.fairness import longest_wait_per_turn
from suite.measuring.latencies import longest_gap_per_turn, samples_and_rows
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats, Ints

NUM_WORST = 10


def worst_users(turns: TurnTable, users: Attainment) -> list[dict[str, Any]]:
    """Returns the users served worst: smallest attainment first; of equals, who waited longest."""
    rows = list(user_rows(turns, users))
    rows.sort(key=lambda row: (row["attainment_ratio"], -(row["longest_wait_s"] or 0.0)))
    return rows[:NUM_WORST]


def user_rows(turns: TurnTable, users: Attainment) -> Iterator[dict[str, Any]]:
    """Yields one row a user and repeat, in the plan's order."""
    row_of = users.rows_of(turns)
    num = len(users.repeat)
    longest_wait = _largest(longest_wait_per_turn(turns), row_of, num)
    longest_gap = _largest(longest_gap_per_turn(turns), row_of, num)
    means = {name: _means(turns, name, row_of, num) for name in ("ttft", "tbt", "e2e")}
    num_whole = np.bincount(row_of[~turns.has_failed], minlength=num)
    ratio = users.ratio
    for row in range(num):
        num_planned = int(users.num_planned_turns[row])
        yield {
            "user_id": str(users.user_id[row]),
            "user_class": str(users.user_class[row]),
            "repeat": int(users.repeat[row]),
            "num_planned_turns": num_planned,
            "num_attained_turns": int(users.num_attained_turns[row]),
            "attainment_ratio": float(ratio[row]),
            "is_within_slo": bool(users.is_within_slo[row]),
            "num_abandoned_turns": num_planned - int(num_whole[row]),
            "longest_wait_s": _known(longest_wait[row]),
            "longest_gap_s": _known(longest_gap[row]),
            **{f"{name}_mean_s": _known(values[row]) for name, values in means.items()},
        }


def _means(turns: TurnTable, name: str, row_of: Ints, num_rows: int) -> Floats:
    """Returns each row's mean over the samples of that latency, [num_rows]; NaN without any."""
    values, turn = samples_and_rows(turns, np.ones(len(turns), dtype=bool), f"{name}_s")
    rows = row_of[turn]
    count = np.bincount(rows, minlength=num_rows)
    total = np.bincount(rows, weights=values, minlength=num_rows)
    mean: Floats = np.divide(total, count, out=np.full(num_rows, np.nan), where=count > 0)
    return mean


def _largest(values: Floats, row_of: Ints, num_rows: int) -> Floats:
    """Returns each row's largest value, [num_rows]; NaN where no turn has one."""
    largest = np.full(num_rows, -np.inf)
    has_any = ~np.isnan(values)
    np.maximum.at(largest, row_of[has_any], values[has_any])
    return np.where(np.isinf(largest), np.nan, largest)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
