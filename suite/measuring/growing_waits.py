"""Do waits grow from the first turns to the last? Tests on few turns, without a model of an engine.

How often they err, with queues of known load: docs/statistics.md and
tests/suite/measuring/test_growing_waits.py.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats

NUM_PARTS = 4  # of the turns, in the order in which they were due
MIN_TURNS_DUE = 20  # while conversations arrive
MIN_GROWTH_RATIO = 0.1  # seconds of wait for each second of arrivals: overload by a tenth
GROWTH_BY_CHANCE = 3.5  # / √turns: as much may come of arrivals and lengths as they fall
ANSWERS_OF_ROOM = 5.0  # that the arrivals must last, or the growth make up: else nobody can tell
NUM_BLOCKS = 10  # of a drift
MIN_OF_BLOCK = 5
DRIFT_LEVEL = 0.001
MIN_DRIFT_RATIO = 1.5  # between the medians of the halves


def is_falling_behind(turns: TurnTable, begin: float, end: float) -> bool | None:
    """Tells whether turns waited longer and longer while conversations arrived, from `begin` to
    `end`, as they do at an engine that is asked for more than it can give: by r times, each second
    of arrivals adds r − 1 seconds of wait. None where the arrivals are over in the time of a few
    answers, so that none could have waited for another.

    A wait is what a turn took beyond an answer of its length at the quickest pace of the run.
    """
    rows = np.flatnonzero((turns.scheduled_at <= end) & ~np.isnan(turns.done_at))
    order = rows[np.argsort(turns.scheduled_at[rows], kind="stable")]
    if len(order) < MIN_TURNS_DUE:
        return False
    alone_s = _quickest_pace(turns) * turns.planned_output_tokens[order]
    waits = (turns.done_at - turns.scheduled_at)[order] - alone_s
    parts = np.array_split(np.arange(len(order)), NUM_PARTS)
    levels = [float(np.median(waits[part])) for part in parts]
    at = [float(turns.scheduled_at[order[part]].mean()) for part in parts]
    room_s = ANSWERS_OF_ROOM * float(np.median(alone_s))
    if end - begin < room_s and levels[-1] - levels[0] < room_s:
        return None
    is_rising = levels[0] < levels[2] and levels[1] < levels[2] < levels[3]
    least = max(MIN_GROWTH_RATIO, GROWTH_BY_CHANCE / sqrt(len(order)))
    return is_rising and levels[3] - levels[1] > least * (at[3] - at[1])


def _quickest_pace(turns: TurnTable) -> float:
    """Returns the least seconds a token, waits included; 0 without any tokens."""
    has_any = turns.num_output_tokens > 0
    e2e_s = (turns.done_at - turns.scheduled_at)[has_any]
    pace = e2e_s / turns.num_output_tokens[has_any]
    return float(np.nanmin(pace)) if np.isfinite(pace).any() else 0.0


def drift_of(delays: Floats) -> tuple[float, float] | None:
    """Returns the medians of either half of the delays, in the order of their turns, where they
    rise or fall from block to block and by enough to matter; None where that is not shown."""
    if len(delays) < NUM_BLOCKS * MIN_OF_BLOCK:
        return None
    half = len(delays) // 2
    halves = float(np.median(delays[:half])), float(np.median(delays[half:]))
    if max(halves) <= MIN_DRIFT_RATIO * min(halves):
        return None
    from scipy import stats  # noqa: PLC0415  a second to import, and only a drift needs it

    blocks = [float(np.median(each)) for each in np.array_split(delays, NUM_BLOCKS)]
    trend = stats.kendalltau(np.arange(NUM_BLOCKS), blocks)
    return halves if trend.pvalue < DRIFT_LEVEL else None
