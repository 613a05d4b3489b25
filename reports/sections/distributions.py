"""Latencies of each user class as distributions, on an axis of nines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import base_layout, nines, nines_axis, time_axis
from reports.drawing.palette import Look, faded
from reports.drawing.thinning import Ecdf, ecdf
from reports.words import units
from suite.measuring.latencies import samples_and_rows
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools
from workloads.plan import Plan

SHOWN = ("first_token_delay_s", "tbt_s")
SMALLEST_LAG_S = 1e-6  # what a log axis can show
FIRST_RATIO = 0.01  # of the samples, the fastest, may lie left of the figure


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyView:
    by_class: Mapping[tuple[str, str], Ecdf]  # (latency, user class)
    driver_lag: Ecdf


def latency_view(turns: TurnTable, plan: Plan) -> LatencyView:
    everyone = np.ones(len(turns), dtype=bool)
    return LatencyView(
        by_class={
            (key, each.name): _ecdf(turns, turns.user_class == each.name, key)
            for key in SHOWN
            for each in plan.user_classes
        },
        driver_lag=_ecdf(turns, everyone, "driver_lag_s", at_least=SMALLEST_LAG_S),
    )


def _ecdf(turns: TurnTable, rows: Bools, key: str, at_least: float = 0.0) -> Ecdf:
    values, row = samples_and_rows(turns, rows, key)
    if at_least:  # a copy, which millions of gaps are spared
        values = np.maximum(values, at_least)
    return ecdf(values, turns.conversation[row])


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
