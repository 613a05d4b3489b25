"""Latencies of each user class as distributions, on an axis of nines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log10

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import base_layout, nines, nines_axis, time_axis
from reports.drawing.palette import Look, faded
from reports.drawing.thinning import Ecdf, ecdf
from reports.sections.engine_records import EngineRecords
from reports.sections.section import Figure, RunFacts, RunSection, Section
from reports.words import units
from suite.measuring.latencies import samples_and_rows
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools
from workloads.plan import Plan
from workloads.plan_parts import UserClass

SHOWN = ("first_token_delay_s", "tbt_s")
FIRST_RATIO = 0.01  # of the samples, the fastest, may lie left of the figure


def latency_ecdf(
    ecdfs: Mapping[str, Ecdf], look: Mapping[str, Look], title: str, slo_s: float | None
) -> go.Figure:
    """Draws the share of samples at most this slow, on an axis of nines, with 95 % bands and the
    class's SLO as a line."""
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
    """Returns the value at which the figure begins: a few gaps of no length (two tokens in one
    read) would take half of a log axis, where nothing is to be seen."""
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
    """Draws the 95 % intervals as a band. A lower percentile is no larger than a higher one's upper
    end, so an open end takes that of the next one that has it, the figure's edge where none has."""
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


def class_ecdfs(turns: TurnTable, plan: Plan) -> dict[tuple[str, str], Ecdf]:
    """Returns the distributions by latency and user class."""
    return {
        (key, each.name): _ecdf(turns, turns.user_class == each.name, key)
        for key in SHOWN
        for each in plan.user_classes
    }


def _ecdf(turns: TurnTable, rows: Bools, key: str) -> Ecdf:
    values, row = samples_and_rows(turns, rows, key)
    return ecdf(values, turns.conversation[row])


def _read(records: EngineRecords) -> Mapping[tuple[str, str], Ecdf]:
    return class_ecdfs(records.turns, records.plan)


def _show(facts: RunFacts, views: Mapping[str, Mapping[tuple[str, str], Ecdf]]) -> list[Section]:
    return [_section(facts, views, key) for key in SHOWN]


def _section(
    facts: RunFacts, views: Mapping[str, Mapping[tuple[str, str], Ecdf]], key: str
) -> Section:
    is_tbt = key == "tbt_s"
    shown = [
        _class_figure(
            {name: each[key, user_class.name] for name, each in views.items()},
            facts.look,
            key,
            user_class,
        )
        for user_class in facts.plan.user_classes
    ]
    what = "token gaps" if is_tbt else "turns"
    judged = (
        "the SLO judges a percentile of each turn's gaps, this pools the gaps of all turns"
        if is_tbt
        else "the delay counts from the planned instant, as the SLO does"
    )
    return Section(
        title="Time between tokens, per class" if is_tbt else "First token, per class",
        term="tbt" if is_tbt else "first_token_delay",
        how_to_read=f"How many {what} were at most this slow: further left is better. Each step "
        "up the axis is one more nine, so the tail gets its room. Bands: 95 %, open "
        f"ends take the next percentile's. Dashed: the class's SLO ({judged}).",
        figures=tuple(each for each in shown if each is not None),
    )


def _class_figure(
    found: Mapping[str, Ecdf], look: Mapping[str, Look], key: str, user_class: UserClass
) -> Figure | None:
    if not any(each.num_samples for each in found.values()):
        return None
    slo_s = user_class.slo.tbt_s if key == "tbt_s" else user_class.slo.ttft_s
    title = "time between tokens" if key == "tbt_s" else "first-token delay"
    return Figure(
        figure_id=f"ecdf-{key}-{user_class.name}",
        title=user_class.name,
        note=thinned_note(found.values()),
        figure=latency_ecdf(found, look, title, slo_s),
    )


def thinned_note(ecdfs: Iterable[Ecdf]) -> str:
    """Says how many samples were left out of the lines; empty if none."""
    thinned = [each for each in ecdfs if each.is_thinned]
    if not thinned:
        return ""
    most = max(each.num_samples for each in thinned)
    drawn = max(len(each.value) for each in thinned)
    return (
        f"Drawn from up to {units.count(most)} samples by at most {drawn} of them per line; the "
        "slowest 100 are all there."
    )


DISTRIBUTIONS = RunSection(read=_read, show=_show)
