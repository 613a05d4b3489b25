"""What turns that were sent late could have changed: the same run with every turn as much quicker,
and as much slower, as lateness allows.

A turn that is late by L is missing at the server for L and is there later, so a turn under way at
the same time may have ended up to L sooner or later than it would have, and so may, less and less,
those beside that one. In a queue that is served in order, whatever the load, all that arrives at
most L later ends at most L later. So each instant of a turn is taken to be off by at most the
largest lateness among the turns that were under way at the same time, or at the same time as one of
these, its own included; and a gap between two instants by twice that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from suite.measuring.engine_run import EngineRun, engine_run_of
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats


def quicker_and_slower(engine: EngineRun) -> tuple[EngineRun, EngineRun] | None:
    """Returns the two runs; None where no driver was late."""
    late = [trial.repeat for trial in engine.trials if trial.driver and trial.driver.is_late]
    if not late:
        return None
    slack_s = slack(engine.all_turns, late)
    quicker, slower = (_moved(engine.all_turns, sign * slack_s) for sign in (-1.0, 1.0))
    return engine_run_of(engine, quicker), engine_run_of(engine, slower)


def lags(turns: TurnTable, late_repeats: Sequence[int]) -> Floats:
    """Returns by how much each turn of these repeats was sent late, [num_turns]; 0 for others."""
    is_of_late = np.isin(turns.repeat, late_repeats)
    lag_s: Floats = np.where(is_of_late, np.nan_to_num(turns.sent_at - turns.scheduled_at), 0.0)
    return lag_s


def slack(turns: TurnTable, late_repeats: Sequence[int]) -> Floats:
    """Returns the largest lateness among the turns under way at the same time as each, [num_turns],
    or at the same time as one of these."""
    lag_s, found = lags(turns, late_repeats), np.zeros(len(turns))
    for repeat in late_repeats:
        rows = np.flatnonzero(turns.repeat == repeat)
        begin, end = turns.scheduled_at[rows], np.fmax(turns.done_at, turns.scheduled_at)[rows]
        beside = _largest_beside(begin, end, lag_s[rows])
        found[rows] = _largest_beside(begin, end, beside)
    return found


def _largest_beside(begin: Floats, end: Floats, values: Floats) -> Floats:
    """Returns for each span [begin, end] the largest value of those it overlaps.

    Values are handed to spans from the largest on: a span takes the first that overlaps it, and
    is then done."""
    found = np.zeros(len(values))
    left = np.arange(len(values))
    for row in np.argsort(-values, kind="stable"):
        if not len(left) or values[row] <= 0:
            break
        overlaps = (begin[left] <= end[row]) & (end[left] >= begin[row])
        found[left[overlaps]] = values[row]
        left = left[~overlaps]
    return found


def _moved(turns: TurnTable, by_s: Floats) -> TurnTable:
    """Returns the turns as if sent in time, all instants moved by `by_s` [num_turns], and the
    longest gap of each longer by twice that, or shorter."""
    gaps = turns.gaps.copy()
    longest = _longest_gaps(turns)
    gaps[longest] = np.maximum(0.0, gaps[longest] + 2 * by_s[turns.gap_turn[longest]])
    first = np.maximum(turns.first_token_at + by_s, turns.scheduled_at)  # NaN stays NaN
    span = np.maximum(0.0, turns.last_token_at - turns.first_token_at + 2 * by_s)
    return replace(
        turns,
        sent_at=np.where(np.isnan(turns.sent_at), np.nan, turns.scheduled_at),
        first_token_at=first,
        last_token_at=first + span,
        done_at=np.maximum(turns.done_at + by_s, turns.scheduled_at),
        token_at=turns.token_at + by_s[turns.token_turn],
        gaps=gaps,
    )


def _longest_gaps(turns: TurnTable) -> Bools:
    """Marks one of the longest gaps of each turn, [num_gaps in all]."""
    is_longest = np.zeros(len(turns.gaps), dtype=bool)
    order = np.lexsort((turns.gaps, turns.gap_turn))
    is_last = np.diff(turns.gap_turn[order], append=-1) != 0
    is_longest[order[is_last]] = True
    return is_longest
