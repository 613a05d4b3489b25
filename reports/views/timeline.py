"""What the request timeline draws of an engine: bars in lanes, and where turns failed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reports.drawing.thinning import evenly
from reports.words import units
from suite.measuring.latencies import longest_gap_per_turn
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats

MAX_LANES = 120
MAX_BARS = 1500
MAX_GAPS_LOOKED_AT = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A turn that got a token."""

    lane: int
    scheduled_at: float
    first_token_at: float
    last_token_at: float
    longest_gap_s: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    lane: int
    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Of one repeat; `gap_range_s` is (median, longest) of the engine's gaps."""

    repeat: int
    bars: tuple[Bar, ...]
    failures: tuple[Failure, ...]
    num_lanes: int
    num_conversations: int
    gap_range_s: tuple[float, float] | None


def timeline_view(turns: TurnTable, repeat: int) -> Timeline | None:
    """At most MAX_LANES conversations and about MAX_BARS turns; None without a turn to draw."""
    lane_of, num_conversations = _lanes(turns, turns.repeat == repeat)
    is_shown = turns.repeat == repeat
    is_shown &= np.isin(turns.conversation_id.astype(str), np.array(list(lane_of), dtype=str))
    shown = turns.where(is_shown)
    gaps = longest_gap_per_turn(shown)
    bars, failures = [], []
    for row in range(len(shown)):
        lane, label = lane_of[shown.conversation_id[row]], _label(shown, gaps, row)
        if shown.num_chunks[row]:
            bars.append(_bar(shown, gaps, row, lane, label))
        if shown.has_failed[row]:
            failures.append(Failure(lane=lane, at=_end(shown, row), label=label))
    if not bars and not failures:
        return None
    return Timeline(
        repeat=repeat,
        bars=tuple(bars),
        failures=tuple(failures),
        num_lanes=len(lane_of),
        num_conversations=num_conversations,
        gap_range_s=_gap_range_s(turns.gaps),
    )


def _lanes(turns: TurnTable, rows: Bools) -> tuple[dict[str, int], int]:
    """Lane by conversation, in the order of their first turns; how many there are in all."""
    index = np.flatnonzero(rows)
    order = index[np.argsort(turns.scheduled_at[index], kind="stable")]
    conversations = list(dict.fromkeys(turns.conversation_id[order]))
    mean_turns = len(order) / max(1, len(conversations))
    limit = max(2, min(MAX_LANES, int(MAX_BARS / max(1.0, mean_turns))))
    chosen = [conversations[place] for place in evenly(len(conversations), limit)]
    return {conversation: lane for lane, conversation in enumerate(chosen)}, len(conversations)


def _gap_range_s(gaps: Floats) -> tuple[float, float] | None:
    """For the scale of colours; the median of some of them is enough for its lower end."""
    some = gaps[:: max(1, len(gaps) // MAX_GAPS_LOOKED_AT)]
    some = some[some > 0]
    return (float(np.median(some)), float(gaps.max())) if len(some) else None


def _bar(turns: TurnTable, gaps: Floats, row: int, lane: int, label: str) -> Bar:
    return Bar(
        lane=lane,
        scheduled_at=float(turns.scheduled_at[row]),
        first_token_at=float(turns.first_token_at[row]),
        last_token_at=float(turns.last_token_at[row]),
        longest_gap_s=0.0 if np.isnan(gaps[row]) else float(gaps[row]),
        label=label,
    )


def _end(turns: TurnTable, row: int) -> float:
    """The best known: a turn that was never sent ends where it was planned."""
    ends = (turns.done_at[row], turns.last_token_at[row], turns.scheduled_at[row])
    return next(float(end) for end in ends if not np.isnan(end))


def _label(turns: TurnTable, gaps: Floats, row: int) -> str:
    waited = turns.first_token_at[row] - turns.scheduled_at[row]
    lines = [
        f"<b>{turns.conversation_id[row]}</b>, turn {turns.turn[row] + 1} "
        f"({turns.user_class[row]}, user {turns.user_id[row]})",
        f"first token after {units.duration(None if np.isnan(waited) else float(waited))}",
        f"longest gap {units.duration(None if np.isnan(gaps[row]) else float(gaps[row]))}",
        f"{units.count(int(turns.num_output_tokens[row]))} tokens",
    ]
    return "<br>".join([*lines, "<b>failed</b>"] if turns.has_failed[row] else lines)
