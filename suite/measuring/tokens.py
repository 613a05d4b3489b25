"""How many tokens and turns an engine got through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from suite.measuring.engine_run import EngineRun
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools


def token_numbers(engine: EngineRun) -> dict[str, Any]:
    """Returns the parts of an engine's numbers that count tokens, by their keys in metrics.json."""
    return {
        "tokens_per_chunk_mean": tokens_per_chunk_mean(engine.turns),
        "throughput": throughput(engine.all_turns, engine.attains_all, engine.repeats),
    }


def throughput(turns: TurnTable, attains: Bools, repeats: Sequence[int]) -> dict[str, float | None]:
    """Returns rates of the turns that succeeded, over the repeats' windows one after the other."""
    total_s = sum((window_s(turns, repeat) for repeat in repeats), start=0.0)
    good = ~turns.has_failed & np.isin(turns.repeat, repeats)
    num_tokens = int(turns.num_output_tokens[good].sum())
    return {
        "window_s": total_s,
        "output_tokens_per_s": num_tokens / total_s if total_s else None,
        "turns_per_s": int(good.sum()) / total_s if total_s else None,
        "goodput_turns_per_s": int(attains.sum()) / total_s if total_s else None,
    }


def window_s(turns: TurnTable, repeat: int) -> float:
    """The time from the repeat's first planned instant to the last end of a turn; 0.0 without
    any."""
    rows = turns.repeat == repeat
    ends = turns.done_at[rows]
    if not len(ends) or np.isnan(ends).all():
        return 0.0
    return float(np.nanmax(ends) - turns.scheduled_at[rows].min())


def tokens_per_chunk_mean(turns: TurnTable) -> float | None:
    """Returns output tokens / chunks of the turns that succeeded, for a turn cut short knows no
    count but what it received."""
    good = ~turns.has_failed
    num_chunks = int(turns.num_chunks[good].sum())
    return float(turns.num_output_tokens[good].sum()) / num_chunks if num_chunks else None
