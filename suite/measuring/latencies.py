"""Latencies of recorded turns: which samples each is made of, and their summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats, Indices
from suite.statistics.summaries import summarise

LATENCIES = (
    "ttft_s",
    "first_token_delay_s",
    "tbt_s",
    "max_tbt_s",
    "tpot_s",
    "e2e_s",
    "normalised_latency_s",
    "driver_lag_s",
)


def latency_summaries(
    turns: TurnTable, rows: Bools, names: Sequence[str] = LATENCIES
) -> dict[str, Any]:
    """Returns the summary of each latency over the chosen turns; conversations are the clusters of
    its intervals."""
    found = {}
    for name in names:
        values, row = samples_and_rows(turns, rows, name)
        found[name] = summarise(values, turns.conversation[row]).as_json()
    return found


def samples_and_rows(turns: TurnTable, rows: Bools, name: str) -> tuple[Floats, Indices]:
    """Returns what a latency is summarised over, one value a turn, for tbt_s one a gap; and each
    one's row.

    Turns that failed count in driver_lag_s alone.
    """
    good = rows & ~turns.has_failed
    if name == "tbt_s":
        if good.all():
            return turns.gaps, turns.gap_turn
        chosen = turns.gaps_of(np.flatnonzero(good))
        return turns.gaps[chosen], turns.gap_turn[chosen]
    values = per_turn(turns, name)
    found = np.flatnonzero((rows if name == "driver_lag_s" else good) & ~np.isnan(values))
    return values[found], found.astype(np.int32)


def per_turn(turns: TurnTable, name: str) -> Floats:
    """Returns a latency of each turn, [num_turns]; NaN where the turn has none (no token, a single
    chunk)."""
    match name:
        case "ttft_s":
            found = turns.first_token_at - turns.sent_at
        case "first_token_delay_s":
            found = turns.first_token_at - turns.scheduled_at
        case "max_tbt_s":
            found = longest_gap_per_turn(turns)
        case "tpot_s":
            has_span = (turns.num_output_tokens > 1) & (turns.num_chunks > 1)
            following = np.where(has_span, turns.num_output_tokens - 1, np.nan)
            found = (turns.last_token_at - turns.first_token_at) / following
        case "e2e_s":
            found = turns.done_at - turns.sent_at
        case "normalised_latency_s":
            num_tokens = np.where(turns.num_output_tokens > 0, turns.num_output_tokens, np.nan)
            found = (turns.done_at - turns.sent_at) / num_tokens
        case _:
            assert name == "driver_lag_s", name
            found = turns.sent_at - turns.scheduled_at
    return found


def longest_gap_per_turn(turns: TurnTable) -> Floats:
    """Returns each turn's longest gap, [num_turns]; NaN where it has none."""
    longest = np.full(len(turns), np.nan)
    num_gaps = turns.num_gaps
    first = np.cumsum(num_gaps) - num_gaps
    has_any = num_gaps > 0
    if has_any.any():  # of neighbours that have none in between, so the runs are the turns
        longest[has_any] = np.maximum.reduceat(turns.gaps, first[has_any])
    return longest
