"""Latencies drawn: tails with intervals, distributions on an axis of nines, turn after turn.

One function a figure: data in, Plotly Figure out. No files, no theme: the page paints that.

Engines come as mappings in the manifest's order; `Look` gives each the same colour everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import base_layout, nines, nines_axis, time_axis
from reports.drawing.palette import Look, faded
from reports.drawing.thinning import Ecdf
from reports.words import units

Json = Mapping[str, Any]
FIRST_RATIO = 0.01  # of the samples, the fastest, may lie left of the figure
TAIL = {"p50": "P50", "p90": "P90", "p95": "P95", "p99": "P99", "p999": "P99.9", "max": "max"}


def tail_percentiles(
    summaries: Mapping[str, Json], look: Mapping[str, Look], title: str
) -> go.Figure:
    """One line per engine over P50…P99.9 and the maximum; whiskers are the 95 % intervals."""
    figure = go.Figure(layout=base_layout(hovermode="x unified"))
    seen = [value for summary in summaries.values() for value in _drawn(summary)]
    axis = time_axis(min(seen, default=0.01), max(seen, default=1.0), title)
    bottom, top = (10.0**end for end in axis["range"])
    for index, (engine, summary) in enumerate(summaries.items()):
        names = [name for name in TAIL if summary[name] is not None]
        values = [summary[name] for name in names]
        ends = [summary["interval"].get(name) for name in names]  # None for the maximum
        nudge = (index - (len(summaries) - 1) / 2) * 0.07  # so that whiskers do not hide each other
        figure.add_scatter(
            name=engine,
            x=[list(TAIL).index(name) + nudge for name in names],
            y=values,
            mode="lines+markers",
            line={"color": look[engine].colour, "dash": look[engine].dash, "width": 2},
            marker={"color": look[engine].colour, "symbol": look[engine].symbol, "size": 9},
            error_y={
                "type": "data",
                "symmetric": False,
                **_whiskers(values, ends, bottom / 2, 2 * top),
                "thickness": 1.5,
                "width": 5,
            },
            customdata=[
                [units.duration(value), units.duration_interval(end)]
                for value, end in zip(values, ends, strict=True)
            ],
            hovertemplate="%{customdata[0]} (95 %: %{customdata[1]})",
        )
    figure.update_xaxes(
        title={"text": "percentile"},
        tickvals=list(range(len(TAIL))),
        ticktext=list(TAIL.values()),
        range=[-0.4, len(TAIL) - 0.6],
        zeroline=False,
        showgrid=False,
    )
    figure.update_yaxes(axis)
    return figure


def _drawn(summary: Json) -> list[float]:
    """What the axis must hold; an open end needs some room to leave the figure through."""
    found = []
    for name in TAIL:
        if summary[name] is not None:
            low, high = summary["interval"].get(name) or (summary[name], summary[name])
            found += [summary[name], low or 0.8 * summary[name], high or 1.25 * summary[name]]
    return found


def _whiskers(
    values: Sequence[float],
    ends: Sequence[Sequence[float | None] | None],
    below: float,
    above: float,
) -> dict[str, list[float]]:
    """Lengths to either side; an open end reaches `below` or `above`, outside the axis."""
    pairs = [end or (value, value) for end, value in zip(ends, values, strict=True)]
    lows = [below if low is None else low for low, _ in pairs]
    highs = [above if high is None else high for _, high in pairs]
    return {
        "array": [high - value for high, value in zip(highs, values, strict=True)],
        "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
    }


def latency_ecdf(
    ecdfs: Mapping[str, Ecdf], look: Mapping[str, Look], title: str, slo_s: float | None
) -> go.Figure:
    """Share of samples at most this slow, on an axis of nines, with 95 % bands and the class's SLO
    as a line."""
    figure = go.Figure(layout=base_layout())
    shown = {engine: each for engine, each in ecdfs.items() if each.num_samples}
    low = min((_fastest(each) for each in shown.values()), default=0.01)
    high = max((float(each.value[-1]) for each in shown.values()), default=1.0)
    if slo_s is not None:
        low, high = min(low, slo_s), max(high, slo_s)
        _draw_slo(figure, slo_s)
    axis = time_axis(low, high, title, num_ticks=4)
    for engine, each in shown.items():
        figure.add_trace(_band(each, look[engine], engine, 10 ** axis["range"][1]))
    for engine, each in shown.items():
        figure.add_trace(_steps(each, look[engine], engine))
    most = max((each.num_samples for each in shown.values()), default=100)
    figure.update_xaxes(axis)
    figure.update_yaxes(nines_axis(1 - 0.5 / most, "share at most this slow"))
    return figure


def _fastest(each: Ecdf) -> float:
    """Where the figure begins: a few gaps of no length (two tokens in one read) would take half of
    a log axis, where nothing is to be seen."""
    return float(each.value[np.searchsorted(each.ratio, FIRST_RATIO)])


def _steps(each: Ecdf, look: Look, engine: str) -> go.Scatter:
    return go.Scatter(
        name=engine,
        legendgroup=engine,
        x=each.value,
        y=nines(each.place),
        mode="lines" if each.num_samples > 1 else "markers",  # one sample makes no line
        marker={"color": look.colour, "symbol": look.symbol, "size": 9},
        line={"color": look.colour, "dash": look.dash, "width": 2, "shape": "hv"},
        customdata=[
            [f"{100 * place:.4g}", units.duration(value)]
            for place, value in zip(each.place, each.value, strict=True)
        ],
        hovertemplate="%{customdata[0]} % within %{customdata[1]}",
    )


def _band(each: Ecdf, look: Look, engine: str, rightmost: float) -> go.Scatter:
    """Where the 95 % intervals lie. A lower percentile is no larger than a higher one's upper end,
    so an open end takes that of the next one that has it, the figure's edge where none has."""
    y = nines(each.band.place)
    nearest_low = np.fmax.accumulate(np.append(each.value[0], each.band.low))[1:]
    nearest_high = np.fmin.accumulate(np.append(rightmost, each.band.high[::-1]))[:0:-1]
    low = np.where(np.isnan(each.band.low), nearest_low, each.band.low)
    high = np.where(np.isnan(each.band.high), nearest_high, each.band.high)
    return go.Scatter(
        name=f"{engine}, 95 %",
        legendgroup=engine,
        showlegend=False,
        x=np.concatenate([low, high[::-1]]),
        y=np.concatenate([y, y[::-1]]),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=faded(look.colour),
        hoverinfo="skip",
    )


def _draw_slo(figure: go.Figure, slo_s: float) -> None:
    figure.add_vline(x=slo_s, line={"dash": "dash", "width": 2, "color": "#888"})
    figure.add_annotation(
        x=log10(slo_s),  # a log axis takes an annotation's place as exponent
        y=0.02,
        yref="y domain",
        text=f"SLO {units.duration(slo_s)}",
        textangle=-90,
        showarrow=False,
        xanchor="right",
        yanchor="bottom",
    )


def latency_by_turn(
    by_turn: Mapping[str, Mapping[str, Json]], look: Mapping[str, Look], title: str
) -> go.Figure:
    """Median and P90 over the turn number: whether a longer history makes a turn slower."""
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
