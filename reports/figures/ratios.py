"""Intervals drawn: ratios to the baseline around 1, gates against their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, times_axis
from reports.words import units

Json = Mapping[str, Any]
# Verdict or outcome ▸ colour and mark; told apart without colour too.
MARKS = {
    "better": ("#009988", "triangle-up"),
    "pass": ("#009988", "circle"),
    "worse": ("#CC3311", "triangle-down"),
    "fail": ("#CC3311", "x"),
    "unclear": ("#8A8F98", "diamond"),
    "inconclusive": ("#8A8F98", "diamond"),
    "same": ("#8A8F98", "circle"),
}
OPEN = 1000.0  # an open end is drawn this many times further than the value
MAX_REACH = 100.0  # of the axis, in times to either side


def ratio_intervals(
    rows: Sequence[tuple[str, float, units.Ends | None, str, str]], title: str
) -> go.Figure:
    """Per row: name, ratio, its interval, verdict, the words of the tooltip. The line is at 1, on
    a log scale, so that half and double are equally far."""
    seen = [end for _, ratio, ends, _, _ in rows for end in (ratio, *(ends or ())) if end]
    figure = go.Figure(layout=_layout(len(rows), seen, title))
    for verdict, (colour, symbol) in MARKS.items():
        mine = [(place, row) for place, row in enumerate(rows) if row[3] == verdict]
        if not mine:
            continue
        ratios = [row[1] for _, row in mine]
        ends = [row[2] or (row[1], row[1]) for _, row in mine]
        figure.add_scatter(
            name=verdict,
            mode="markers",
            x=ratios,
            y=[place for place, _ in mine],
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": _distances(ratios, [each[1] for each in ends], OPEN),
                "arrayminus": _distances(ratios, [each[0] for each in ends], 1 / OPEN),
                "thickness": 2,
                "width": 5,
                "color": colour,
            },
            text=[row[4] for _, row in mine],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_yaxes(tickvals=list(range(len(rows))))
    for place, row in enumerate(rows):
        # Above its line, for beside it a long name leaves a narrow page no room for the figure.
        figure.add_annotation(
            text=row[0],
            showarrow=False,
            xref="x domain",
            x=0,
            xanchor="left",
            y=place,
            yanchor="bottom",
            yshift=4,
        )
    return figure


def _distances(
    ratios: Sequence[float], ends: Sequence[float | None], open_at: float
) -> list[float]:
    return [
        abs((ratio * open_at if end is None else end) - ratio)
        for ratio, end in zip(ratios, ends, strict=True)
    ]


def _layout(num_rows: int, seen: Sequence[float], title: str) -> go.Layout:
    axis = times_axis(
        max(min(seen, default=1.0), 1 / MAX_REACH),
        min(max(seen, default=1.0), MAX_REACH),
        title,
        num_ticks=6,
    )
    return base_layout(
        height=110 + 34 * num_rows,
        showlegend=True,  # of one verdict too
        margin={"l": 16, "r": 16, "t": 16, "b": 52},
        xaxis=axis,
        yaxis={
            "range": [num_rows - 0.5, -0.8],
            "zeroline": False,
            "showticklabels": False,  # names are annotations: labels inside hide ticks below them
        },
        shapes=[
            {
                "type": "line",
                "x0": 1,
                "x1": 1,
                "y0": 0,
                "y1": 1,
                "yref": "y domain",
                "line": {"color": "#888", "width": 2, "dash": "dash"},
            }
        ],
    )
