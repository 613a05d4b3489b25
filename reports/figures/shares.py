"""Where the time went, drawn: shares of the latency, and one slow request moment by moment."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from reports.drawing.axes import LEGEND, MARGIN, READABLE_OR_NONE, base_layout, folded
from reports.drawing.palette import STATE_COLOURS, text_on
from reports.views.switching import SlowRequest
from reports.words import units

NAME_WIDTH = 22  # letters a line: the bars need the room


def latency_shares(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """One stacked bar per engine: {STATE_ratio: share of the latency}, adding up to 1."""
    engines = list(shares)
    figure = go.Figure(
        layout=base_layout(
            barmode="stack",
            bargap=0.35,
            height=150 + 46 * len(engines),
            legend={**LEGEND, "traceorder": "normal"},
            margin={**MARGIN, "r": 28},  # so that the last tick is in sight
            uniformtext=READABLE_OR_NONE,
        )
    )
    for state, colour in STATE_COLOURS.items():
        ratios = [shares[engine][f"{state}_ratio"] for engine in engines]
        figure.add_bar(
            name=state.replace("_", " "),
            orientation="h",
            x=ratios,
            y=[folded(engine, NAME_WIDTH) for engine in engines],
            marker={"color": colour, "line": {"width": 0}},
            text=[units.percent(ratio) if ratio >= 0.08 else "" for ratio in ratios],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": text_on(colour)},
            textangle=0,
            customdata=[units.percent(ratio) for ratio in ratios],
            hovertemplate="%{y}: %{customdata}",
        )
    figure.update_xaxes(
        title={"text": "share of the latency"},
        range=[0, 1.002],
        tickformat=".0%",
        dtick=0.25,
        zeroline=False,
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return figure


def slow_requests(slow: Mapping[str, SlowRequest]) -> go.Figure:
    """One bar an engine: the states of one slow request from its arrival on, in their order."""
    figure = go.Figure(
        layout=base_layout(
            barmode="overlay",
            bargap=0.35,
            height=150 + 46 * len(slow),
            showlegend=True,  # of one state too: its colour has to be named
            legend={**LEGEND, "traceorder": "normal"},
        )
    )
    for state, colour in STATE_COLOURS.items():
        spans = [
            (engine, began_s, ended_s)
            for engine, each in slow.items()
            for name, began_s, ended_s in each.spans
            if name == state
        ]
        figure.add_bar(
            name=state.replace("_", " "),
            orientation="h",
            y=[folded(engine, NAME_WIDTH) for engine, _, _ in spans],
            base=[began_s for _, began_s, _ in spans],
            x=[ended_s - began_s for _, began_s, ended_s in spans],
            marker={"color": colour, "line": {"width": 0}},
            customdata=[units.duration(ended_s - began_s) for _, began_s, ended_s in spans],
            hovertemplate="%{y}: %{customdata}",
        )
    last_s = max((ended_s for each in slow.values() for _, _, ended_s in each.spans), default=1.0)
    figure.update_xaxes(
        title={"text": "seconds after its arrival"}, range=[0, 1.01 * last_s], zeroline=False
    )
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=[folded(engine, NAME_WIDTH) for engine in slow],
        autorange="reversed",
        showgrid=False,
        automargin=True,
    )
    return figure
