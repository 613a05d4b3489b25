"""How far each turn kept its SLO: the headroom it left, and Etalon's deadlines of chunks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from suite.measuring.latencies import longest_gap_per_turn
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats, Ints
from suite.statistics.quantiles import exact_fraction
from workloads.plan_parts import UserClass

CHUNKS_AT_ONCE = 1 << 21


def headroom(turns: TurnTable, attains: Bools, user_classes: Sequence[UserClass]) -> Floats:
    """Returns the part of its SLO that each turn did not need, [num_turns]; 0 for one that
    missed."""
    left = 1.0 - slo_use(turns, attains, user_classes)
    return np.nan_to_num(np.maximum(0.0, left), nan=0.0)


def slo_use(turns: TurnTable, chosen: Bools, user_classes: Sequence[UserClass]) -> Floats:
    """Returns how many times its SLO each of the chosen turns took, the worst of its promises,
    [num_turns]; up to 1 it attains. NaN for the others and for a turn without a token."""
    found = np.full(len(turns), np.nan)
    delay = turns.first_token_at - turns.scheduled_at
    longest = np.nan_to_num(longest_gap_per_turn(turns))
    for each in user_classes:
        slo = each.slo
        rows = np.flatnonzero(chosen & (turns.user_class == each.name))
        tbt = tbt_percentile(turns, rows, exact_fraction(slo.tbt_percentile))
        used = np.maximum(delay[rows] / slo.ttft_s, tbt / slo.tbt_s)
        if slo.max_gap_s is not None:
            used = np.maximum(used, longest[rows] / slo.max_gap_s)
        found[rows] = used
    return found


def tbt_percentile(turns: TurnTable, rows: Ints, q: Fraction) -> Floats:
    """Returns that percentile of each turn's gaps, [num_rows]; 0.0 for a turn without any."""
    num_gaps = turns.num_gaps
    first = (np.cumsum(num_gaps) - num_gaps)[rows]
    num = num_gaps[rows]
    rank = np.maximum(1, -(-num * q.numerator // q.denominator))  # ⌈q·n⌉ in integers
    found = np.nan_to_num(longest_gap_per_turn(turns)[rows])
    for place in np.flatnonzero(rank < num):  # of the others the percentile is the longest
        gaps = turns.gaps[first[place] : first[place] + num[place]]
        found[place] = np.partition(gaps, rank[place] - 1)[rank[place] - 1]
    return found


def deadlines(turns: TurnTable, user_classes: Sequence[UserClass]) -> tuple[Ints, Ints]:
    """(met, missed) of each turn, [num_turns]: the fluidity index of Agrawal et al.,
    arXiv 2407.07000, is met / (met + missed).

    The first chunk is due `ttft` after the planned instant, each next one `tbt` after the one
    before; time won is carried on, a chunk late by d misses 1 + ⌊d/tbt⌋ deadlines and starts anew.
    """
    ttft_s, tbt_s = np.ones(len(turns)), np.ones(len(turns))
    for each in user_classes:
        rows = turns.user_class == each.name
        ttft_s[rows], tbt_s[rows] = each.slo.ttft_s, each.slo.tbt_s
    met, missed = turns.num_chunks.copy(), np.zeros(len(turns), dtype=np.int64)
    first_chunk = turns.first_chunk
    for row in np.flatnonzero(_is_ever_late(turns, turns.scheduled_at + ttft_s, tbt_s)):
        at = turns.token_at[first_chunk[row] : first_chunk[row + 1]] - turns.scheduled_at[row]
        met[row], missed[row] = _deadlines_of(at, float(ttft_s[row]), float(tbt_s[row]))
    received = np.bincount(
        turns.token_turn, weights=turns.tokens_per_chunk, minlength=len(turns)
    ).astype(np.int64)
    lacking = np.maximum(0, turns.planned_output_tokens - received)
    return met, missed + np.where(turns.has_failed, lacking, 0)


def _is_ever_late(turns: TurnTable, first_due: Floats, tbt_s: Floats) -> Bools:
    """Tells whether any chunk comes after its first deadline, [num_turns]. Most turns never are,
    and need no walk; a stretch of turns at a time, for memory's sake."""
    is_late = np.zeros(len(turns), dtype=bool)
    first_chunk = turns.first_chunk
    row = 0
    while row < len(turns):
        end = max(row + 1, int(np.searchsorted(first_chunk, first_chunk[row] + CHUNKS_AT_ONCE)) - 1)
        stretch = slice(first_chunk[row], first_chunk[end])
        turn_of = turns.token_turn[stretch]
        number = np.arange(first_chunk[row], first_chunk[end]) - first_chunk[turn_of]
        late = turns.token_at[stretch] > first_due[turn_of] + tbt_s[turn_of] * number
        is_late[turn_of[late]] = True
        row = end
    return is_late


def _deadlines_of(at: Floats, ttft_s: float, tbt_s: float) -> tuple[int, int]:
    """Returns (met, missed) of one turn; `at`: arrivals after the planned instant. Slack is what a
    waiting line would be (Lindley): the distance of a walk from its running minimum; each new
    minimum is a miss, as deep as late."""
    due = ttft_s + tbt_s * np.arange(len(at))
    walk = due - at
    lowest = np.minimum.accumulate(np.minimum(walk, 0.0))
    late = np.diff(-lowest, prepend=0.0)
    late = late[late > 0]
    return len(at) - len(late), int((1 + np.floor(late / tbt_s)).sum())
