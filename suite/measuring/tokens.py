"""How many tokens and turns an engine got through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from suite.measuring.engine_run import EngineRun
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats
from suite.statistics.intervals import Clusters, all_as_json
from suite.statistics.shares import share_of_sums_interval

CACHED = "cached_tokens_ratio"


def token_numbers(engine: EngineRun) -> dict[str, Any]:
    """Returns the parts of an engine's numbers that count tokens, by their keys in metrics.json."""
    return {
        "tokens_per_chunk_mean": tokens_per_chunk_mean(engine.turns),
        "throughput": throughput(engine.all_turns, engine.attains_all, engine.repeats),
        "prompts": prompts_by_class(engine),
    }


def prompts_by_class(engine: EngineRun) -> dict[str, Any]:
    """Returns what the server says of the prompts of measured turns, of all users and by class."""
    turns = engine.turns
    return {
        **prompt_numbers(turns),
        "by_class": {
            each.name: prompt_numbers(turns.where(turns.user_class == each.name))
            for each in engine.plan.user_classes
        },
    }


def prompt_numbers(turns: TurnTable) -> dict[str, Any]:
    """Returns the share of prompt tokens that came from the server's prefix cache, pooled over the
    turns that tell both counts; conversations are the clusters of its interval."""
    whole, part = prompt_and_cached_tokens(turns)
    told = ~np.isnan(whole)
    num_prompt, num_cached = float(whole[told].sum()), float(part[told].sum())
    if not num_prompt:
        why = "the server does not tell how many prompt tokens it had cached"
        return {CACHED: None, "num_told_turns": 0, "interval": {}, "unavailable": {CACHED: why}}
    clusters = Clusters.from_labels(turns.conversation[told])
    interval = share_of_sums_interval(part[told], whole[told], clusters.of_sample)
    return {
        CACHED: num_cached / num_prompt,
        "num_told_turns": int(told.sum()),
        "interval": all_as_json({CACHED: interval}),
        "unavailable": {},
    }


def prompt_and_cached_tokens(turns: TurnTable) -> tuple[Floats, Floats]:
    """(prompt tokens, those of them that were cached) of each turn, [num_turns]; NaN in both where
    the server did not tell both."""
    is_told = ~np.isnan(turns.num_prompt_tokens) & ~np.isnan(turns.num_cached_tokens)
    whole = np.where(is_told, turns.num_prompt_tokens, np.nan)
    return whole, np.where(is_told, turns.num_cached_tokens, np.nan)


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
