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
    """Conversations are the clusters of the intervals."""
    found = {}
    for name in names:
        values, row = samples_and_rows(turns, rows, name)
        found[name] = summarise(values, turns.conversation[row]).as_json()
    return found


def samples(turns: TurnTable, rows: Bools, name: str) -> Floats:
    return samples_and_rows(turns, rows, name)[0]


def samples_and_rows(turns: TurnTable, rows: Bools, name: str) -> tuple[Floats, Indices]:
    """What a latency is summarised over: one value a turn, for tbt_s one a gap; and each one's row.

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
    """Shape [num_turns]; NaN where the turn has no such number (no token, a single chunk)."""
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
    """Shape [num_turns]; NaN where the turn has no gap."""
    longest = np.full(len(turns), np.nan)
    num_gaps = turns.num_gaps
    first = np.cumsum(num_gaps) - num_gaps
    has_any = num_gaps > 0
    if has_any.any():  # of neighbours that have none in between, so the runs are the turns
        longest[has_any] = np.maximum.reduceat(turns.gaps, first[has_any])
    return longest


def window_s(turns: TurnTable, repeat: int) -> float:
    """From the repeat's first planned instant to the last end of a turn; 0.0 without any."""
    rows = turns.repeat == repeat
    ends = turns.done_at[rows]
    if not len(ends) or np.isnan(ends).all():
        return 0.0
    return float(np.nanmax(ends) - turns.scheduled_at[rows].min())


def throughput(turns: TurnTable, attains: Bools, repeats: Sequence[int]) -> dict[str, float | None]:
    """Of the turns that succeeded, over the repeats' windows one after the other."""
    total_s = sum((window_s(turns, repeat) for repeat in repeats), start=0.0)
    good = ~turns.has_failed & np.isin(turns.repeat, repeats)
    num_tokens = int(turns.num_output_tokens[good].sum())
    return {
        "window_s": total_s,
        "output_tokens_per_s": num_tokens / total_s if total_s else None,
        "turns_per_s": int(good.sum()) / total_s if total_s else None,
        "goodput_turns_per_s": int(attains.sum()) / total_s if total_s else None,
    }


def tokens_per_chunk_mean(turns: TurnTable) -> float | None:
    """Of the turns that succeeded, for a turn cut short knows no count but what it received."""
    good = ~turns.has_failed
    num_chunks = int(turns.num_chunks[good].sum())
    return float(turns.num_output_tokens[good].sum()) / num_chunks if num_chunks else None
