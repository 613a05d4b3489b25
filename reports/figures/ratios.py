"""Intervals drawn: ratios to the baseline around 1, gates against their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

import plotly.graph_objects as go

from reports import units
from reports.axes import base_layout

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
FINE_TICKS = (0.5, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 2)
OPEN = 1000.0  # an open end is drawn this many times further than the value
MAX_REACH = 64.0  # of the axis, in times


def ratio_intervals(rows: Sequence[tuple[str, float, units.Ends | None, str, str]]) -> go.Figure:
    """Per row: name, ratio, its interval, verdict, the words of the tooltip. The line is at 1, on
    a log scale, so that half and double are equally far."""
    reach = _reach([end for _, ratio, ends, _, _ in rows for end in (ratio, *(ends or ()))])
    figure = go.Figure(layout=_layout(len(rows), reach))
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
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=[row[0] for row in rows])
    return figure


def _distances(
    ratios: Sequence[float], ends: Sequence[float | None], open_at: float
) -> list[float]:
    return [
        abs((ratio * open_at if end is None else end) - ratio)
        for ratio, end in zip(ratios, ends, strict=True)
    ]


def _reach(values: Sequence[float | None]) -> float:
    """How far the axis goes to either side of 1."""
    far = [max(value, 1 / value) for value in values if value is not None and value > 0]
    return min(MAX_REACH, max([1.25, *far]) * 1.05)


def _layout(num_rows: int, reach: float) -> go.Layout:
    ticks = [each for each in FINE_TICKS if 1 / reach <= each <= reach]
    if reach > 2:
        step = 1 if reach <= 16 else 2
        ticks = [2.0**power for power in range(-6, 7, step) if 1 / reach <= 2.0**power <= reach]
    return base_layout(
        height=110 + 26 * num_rows,
        margin={"l": 64, "r": 16, "t": 16, "b": 52},
        xaxis={
            "type": "log",
            "title": {"text": "times"},
            "tickvals": ticks,
            "ticktext": [units.times(each) for each in ticks],
            "range": [-log10(reach), log10(reach)],
            "zeroline": False,
        },
        yaxis={
            "range": [num_rows - 0.5, -0.5],
            "zeroline": False,
            "automargin": True,
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
