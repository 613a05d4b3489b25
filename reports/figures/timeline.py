"""The request timeline: every turn as a bar, coloured by its longest gap."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from reports.drawing.axes import base_layout
from reports.drawing.palette import FAILED, STALL_SCALE, WAITING
from reports.views.timeline import Bar, Failure
from reports.words import units


def turn_timeline(
    bars: Sequence[Bar],
    failures: Sequence[Failure],
    num_lanes: int,
    gap_range_s: tuple[float, float],
) -> go.Figure:
    """Every turn as a bar in its conversation's lane: grey while it waits for its first token,
    then coloured by the longest gap in its stream. A stall of the engine shows as a column.

    `gap_range_s` is the same for all engines, so that their colours can be compared.
    """
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
    """Between 10**low and 10**high seconds, in a hundred shades."""
    places = [(log10(max(gap, 10.0**low)) - low) / (high - low) for gap in gaps]
    shades: list[str] = sample_colorscale(STALL_SCALE, [round(place, 2) for place in places])
    return shades


def _gap_scale(low: int, high: int) -> go.Scatter:
    """Nothing but the colour bar that explains `_gap_colours`."""
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
                "title": {"text": "longest gap", "side": "right"},
                "tickvals": ticks,
                "ticktext": [units.duration(10.0**tick) for tick in ticks],
                "thickness": 12,
                "outlinewidth": 0,
            },
        },
    )
