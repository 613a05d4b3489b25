"""Every turn over time: bars in lanes, coloured by the longest gap, and where turns failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from reports.drawing.axes import base_layout
from reports.drawing.palette import FAILED, STALL_SCALE, WAITING
from reports.drawing.thinning import evenly
from reports.sections.engine_records import EngineRecords
from reports.sections.section import Figure, RunFacts, RunSection, Section
from reports.words import units
from suite.measuring.latencies import longest_gap_per_turn
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats

MAX_LANES = 120
MAX_BARS = 1500
MAX_GAPS_LOOKED_AT = 200_000
FALLBACK_RANGE_S = (0.1, 1.0)  # of a run without a single gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Holds a turn that got a token."""

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
    """Holds the turns of one repeat; `gap_range_s` is (median, longest) of the engine's gaps."""

    repeat: int
    bars: tuple[Bar, ...]
    failures: tuple[Failure, ...]
    num_lanes: int
    num_conversations: int
    gap_range_s: tuple[float, float] | None


def timeline_view(turns: TurnTable, repeat: int) -> Timeline | None:
    """Returns at most MAX_LANES conversations and about MAX_BARS turns; None without a turn to
    draw."""
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
    """Returns the lanes by conversation, in the order of their first turns, and how many there are
    in all."""
    index = np.flatnonzero(rows)
    order = index[np.argsort(turns.scheduled_at[index], kind="stable")]
    conversations = list(dict.fromkeys(turns.conversation_id[order]))
    mean_turns = len(order) / max(1, len(conversations))
    limit = max(2, min(MAX_LANES, int(MAX_BARS / max(1.0, mean_turns))))
    chosen = [conversations[place] for place in evenly(len(conversations), limit)]
    return {conversation: lane for lane, conversation in enumerate(chosen)}, len(conversations)


def _gap_range_s(gaps: Floats) -> tuple[float, float] | None:
    """Returns the ends of the scale of colours; the median of some gaps is enough for its lower
    end."""
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
    """Returns the best known end: a turn that was never sent ends where it was planned."""
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


def turn_timeline(
    bars: Sequence[Bar],
    failures: Sequence[Failure],
    num_lanes: int,
    gap_range_s: tuple[float, float],
) -> go.Figure:
    """Draws every turn as a bar in its conversation's lane: grey while it waits for its first
    token, then coloured by the longest gap in its stream. A stall of the engine shows as a column.
    `gap_range_s` is one range for all engines, so that their colours can be compared."""
    low, high = floor(log10(gap_range_s[0])), ceil(log10(gap_range_s[1]))
    high = max(high, low + 1)
    figure = go.Figure(layout=_layout(num_lanes))
    waited = [(each.scheduled_at, each.first_token_at) for each in bars]
    streamed = [(each.first_token_at, each.last_token_at) for each in bars]
    shades = _gap_colours([each.longest_gap_s for each in bars], low, high)
    figure.add_bar(
        name="waiting for the first token", **_stretch(bars, waited), marker=_paint(WAITING)
    )
    figure.add_bar(
        name="streaming", **_stretch(bars, streamed), marker=_paint(shades), showlegend=False
    )
    figure.add_trace(_gap_scale(low, high))
    if failures:
        figure.add_scatter(
            name="failed",
            mode="markers",
            x=[each.at for each in failures],
            y=[each.lane for each in failures],
            marker={"symbol": "x", "size": 9, "color": FAILED},
            text=[each.label for each in failures],
            hovertemplate="%{text}<extra></extra>",
        )
    return figure


def _layout(num_lanes: int) -> go.Layout:
    return base_layout(
        barmode="overlay",
        bargap=0.25,
        height=max(260, min(580, 90 + 9 * num_lanes)),
        margin={"l": 64, "r": 8, "t": 16, "b": 52},
        xaxis={"title": {"text": "seconds after the start"}, "zeroline": False},
        yaxis={
            "title": {"text": "conversations, by start"},
            "autorange": "reversed",
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
        },
    )


def _stretch(bars: Sequence[Bar], ends: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "orientation": "h",
        "y": [each.lane for each in bars],
        "base": [round(began_at, 4) for began_at, _ in ends],
        "x": [round(ended_at - began_at, 4) for began_at, ended_at in ends],
        "text": [each.label for each in bars],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }


def _paint(colour: str | list[str]) -> dict[str, Any]:
    return {"color": colour, "line": {"width": 0}}


def _gap_colours(gaps: Sequence[float], low: int, high: int) -> list[str]:
    """Returns a colour a gap, between 10**low and 10**high seconds, in a hundred shades."""
    places = [(log10(max(gap, 10.0**low)) - low) / (high - low) for gap in gaps]
    shades: list[str] = sample_colorscale(STALL_SCALE, [round(place, 2) for place in places])
    return shades


def _gap_scale(low: int, high: int) -> go.Scatter:
    """Draws nothing but the colour bar that explains `_gap_colours`."""
    ticks = list(range(low, high + 1))
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={
            "color": [low],
            "cmin": low,
            "cmax": high,
            "colorscale": STALL_SCALE,
            "colorbar": {
                "title": {"text": "longest<br>gap", "side": "top", "font": {"size": 11}},
                "tickfont": {"size": 11},
                "tickvals": ticks,
                "ticktext": [units.duration(10.0**tick) for tick in ticks],
                "thickness": 12,
                "outlinewidth": 0,
            },
        },
    )


def _read(records: EngineRecords) -> Timeline | None:
    return timeline_view(records.all_turns, records.repeat)


def _show(_: RunFacts, views: Mapping[str, Timeline]) -> list[Section]:
    """Draws all engines on one scale of colours."""
    ranges = [each.gap_range_s for each in views.values() if each.gap_range_s is not None]
    typical_s = min((low for low, _ in ranges), default=FALLBACK_RANGE_S[0])
    longest_s = max((high for _, high in ranges), default=FALLBACK_RANGE_S[1])
    section = Section(
        title="Every turn, over time",
        term="timeline",
        how_to_read="One lane per conversation, grey while waiting for the first token, then "
        "brighter the longer the longest gap of the stream. Bright bars that line up in a column: "
        "the whole engine stalled there. Hover for the numbers, drag to zoom.",
        figures=tuple(
            Figure(
                figure_id=f"timeline-{name}",
                title=name,
                note=_note(view),
                figure=turn_timeline(
                    view.bars, view.failures, view.num_lanes, (typical_s, longest_s)
                ),
            )
            for name, view in views.items()
        ),
    )
    return [section]


def _note(view: Timeline) -> str:
    note = f"Repeat {view.repeat}."
    if view.num_lanes < view.num_conversations:
        note += f" {view.num_lanes} of {view.num_conversations:,} conversations, evenly spread."
    return note


TIMELINE = RunSection(read=_read, show=_show)
