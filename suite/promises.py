"""How a class's promise was kept in detail: headroom, and Etalon's fluidity index."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from suite.quantiles import exact_fraction, quantile_rank
from suite.turn_table import Bools, Floats, Ints, TurnTable
from workloads.plan import UserClass


def headroom(turns: TurnTable, attains: Bools, user_classes: Sequence[UserClass]) -> Floats:
    """[num_turns]: the part of the promise that a turn did not need, 0 for one that missed."""
    found = np.zeros(len(turns))
    delay = turns.first_token_at - turns.scheduled_at
    for each in user_classes:
        rows = np.flatnonzero(attains & (turns.user_class == each.name))
        tbt = tbt_percentile(turns, rows, exact_fraction(each.slo.tbt_percentile))
        used = np.maximum(delay[rows] / each.slo.ttft_s, tbt / each.slo.tbt_s)
        found[rows] = np.maximum(0.0, 1.0 - used)
    return found


def tbt_percentile(turns: TurnTable, rows: Ints, q: Fraction) -> Floats:
    """[num_rows]: that percentile of each turn's gaps; 0.0 for a turn without any."""
    num_gaps = turns.num_gaps
    first = np.cumsum(num_gaps) - num_gaps
    found = np.zeros(len(rows))
    for place, row in enumerate(rows):
        if num := int(num_gaps[row]):
            rank = quantile_rank(num, q) - 1
            gaps = turns.gaps[first[row] : first[row] + num]
            found[place] = gaps.max() if rank == num - 1 else np.partition(gaps, rank)[rank]
    return found


def deadlines(turns: TurnTable, user_classes: Sequence[UserClass]) -> tuple[Ints, Ints]:
    """(met, missed) of each turn, [num_turns]: the fluidity index of Agrawal et al.,
    arXiv 2407.07000, is met / (met + missed).

    The first chunk is due `ttft` after the planned instant, each next one `tbt` after the one
    before; time won is carried on, a chunk late by d misses 1 + ⌊d/tbt⌋ deadlines and starts anew.
    """
    met = np.zeros(len(turns), dtype=np.int64)
    missed = np.zeros(len(turns), dtype=np.int64)
    slo_of = {each.name: each.slo for each in user_classes}
    first_chunk = turns.first_chunk
    for row in range(len(turns)):
        slo = slo_of[turns.user_class[row]]
        at = turns.token_at[first_chunk[row] : first_chunk[row + 1]]
        if len(at):
            met[row], missed[row] = _deadlines_of(
                at - turns.scheduled_at[row], slo.ttft_s, slo.tbt_s
            )
    received = np.bincount(
        turns.token_turn, weights=turns.tokens_per_chunk, minlength=len(turns)
    ).astype(np.int64)
    lacking = np.maximum(0, turns.planned_output_tokens - received)
    return met, missed + np.where(turns.has_failed, lacking, 0)


def _deadlines_of(at: Floats, ttft_s: float, tbt_s: float) -> tuple[int, int]:
    """`at`: arrivals after the planned instant. Slack is what a waiting line would be (Lindley):
    the distance of a walk from its running minimum; each new minimum is a miss, as deep as late."""
    due = ttft_s + tbt_s * np.arange(len(at))
    walk = due - at
    lowest = np.minimum.accumulate(np.minimum(walk, 0.0))
    late = np.diff(-lowest, prepend=0.0)
    late = late[late > 0]
    return len(at) - len(late), int((1 + np.floor(late / tbt_s)).sum())
