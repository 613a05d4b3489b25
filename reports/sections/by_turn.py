"""Latency turn after turn: whether a longer history makes the user wait longer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, time_axis
from reports.drawing.palette import Look
from reports.sections.section import Figure, RunFacts, Section, from_metrics
from reports.sections.tails import TAIL
from reports.words import units

Json = Mapping[str, Any]


def latency_by_turn(
    by_turn: Mapping[str, Mapping[str, Json]], look: Mapping[str, Look], title: str
) -> go.Figure:
    """Draws median and P90 over the turn number: whether a longer history makes a turn slower."""
    figure = go.Figure(layout=base_layout(hovermode="x unified"))
    seen: list[float] = []
    for engine, summaries in by_turn.items():
        for name, width in (("p50", 2.5), ("p90", 1.2)):
            points = [
                (int(turn) + 1, each[name], each["count"])
                for turn, each in summaries.items()
                if each[name] is not None
            ]
            seen += [value for _, value, _ in points]
            figure.add_scatter(
                name=f"{engine} {TAIL[name]}",
                x=[turn for turn, _, _ in points],
                y=[value for _, value, _ in points],
                mode="lines+markers",
                line={"color": look[engine].colour, "width": width, "dash": look[engine].dash},
                marker={"symbol": look[engine].symbol, "size": 4 + width},
                customdata=[
                    [units.duration(value), units.count(number)] for _, value, number in points
                ],
                hovertemplate="%{customdata[0]} (%{customdata[1]} turns)",
            )
    figure.update_xaxes(title={"text": "turn of the conversation"}, dtick=_whole_step(by_turn))
    figure.update_yaxes(time_axis(min(seen, default=0.01), max(seen, default=1.0), title))
    return figure


def _whole_step(by_turn: Mapping[str, Mapping[str, Json]]) -> int:
    longest = max((int(turn) + 1 for each in by_turn.values() for turn in each), default=1)
    return max(1, longest // 10)


def _show(facts: RunFacts) -> Section:
    found = {
        name: {turn: each["ttft_s"] for turn, each in engine["by_turn"].items()}
        for name, engine in facts.numbers.items()
    }
    is_worth_it = any(len(each) > 1 for each in found.values())
    figure = Figure(
        figure_id="ttft-by-turn",
        title="Time to first token",
        note="Turn numbers with too few samples for a percentile are left out.",
        figure=latency_by_turn(found, facts.look, "time to first token"),
    )
    return Section(
        title="Later turns",
        term="ttft",
        how_to_read="A line that climbs means that a longer history makes the user wait longer; "
        "KV reuse keeps it flat. Thick: median, thin: P90.",
        figures=(figure,) if is_worth_it else (),
    )


BY_TURN = from_metrics(_show)
