"""A sweep drawn: numbers along the setting that is varied, and what is bought with what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, count_axis, time_axis
from reports.drawing.palette import Look
from reports.views.sweep import Sweep, SweepPoint
from reports.words import units

Json = Mapping[str, Any]
Read = Callable[[Json], tuple[float | None, units.Ends | None]]  # (value, its interval)
MAX_NAMED = 5  # points of the front, beyond which names would run into each other
MAX_TICKS = 9  # values, beyond which they could not all be named below an axis


def along_setting(
    sweep: Sweep, look: Mapping[str, Look], title: str, read: Read, kind: str, *, panel: str
) -> go.Figure:
    """One panel, on an axis that holds all of them. A mark a run with 95 % whiskers, hollow where
    it was overloaded, a line an engine through the median of the runs (seeds) at one value; `kind`:
    share, duration or count."""
    figure = go.Figure(layout=base_layout(height=320))
    values = (read(point.numbers)[0] for point in sweep.points)
    seen = [value for value in values if value is not None]
    for engine in sweep.engines:
        known = [
            (point, value, ends)
            for point in sweep.panel(panel).of(engine)
            for value, ends in [read(point.numbers)]
            if value is not None
        ]
        figure.add_trace(_marks(engine, known, look, kind))
        medians = median_line([(point.at.place, value) for point, value, _ in known], look[engine])
        figure.add_trace(medians.update(legendgroup=engine))
    figure.update_xaxes(setting_axis(sweep))
    figure.update_yaxes(_value_axis(title, seen, kind))
    return figure


def _marks(
    engine: str,
    known: Sequence[tuple[SweepPoint, float, units.Ends | None]],
    look: Mapping[str, Look],
    kind: str,
) -> go.Scatter:
    show = _SHOW[kind]
    return go.Scatter(
        name=engine,
        x=[point.at.place for point, _, _ in known],
        y=[value for _, value, _ in known],
        mode="markers",
        legendgroup=engine,
        marker={
            "symbol": [_symbol(point, look) for point, _, _ in known],
            "size": 8,
            "color": look[engine].colour,
        },
        error_y=whiskers([(value, ends) for _, value, ends in known]),
        customdata=[
            [_label(point), show(value), units.interval(ends, show)] for point, value, ends in known
        ],
        hovertemplate="%{customdata[0]}: %{customdata[1]} (95 %: %{customdata[2]})",
    )


def median_line(points: Sequence[tuple[float, float]], look: Look) -> go.Scatter:
    """Through the median of the values (of several seeds) at each place."""
    at: dict[float, list[float]] = {}
    for place, value in sorted(points):
        at.setdefault(place, []).append(value)
    return go.Scatter(
        x=list(at),
        y=[median(values) for values in at.values()],
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
        line={"color": look.colour, "dash": look.dash, "width": 2},
    )


def _value_axis(title: str, seen: Sequence[float], kind: str) -> dict[str, Any]:
    if kind == "duration":
        return time_axis(min(seen, default=0.01), max(seen, default=1.0), title)
    axis: dict[str, Any] = {"title": {"text": title}, "zeroline": False, "rangemode": "tozero"}
    if kind == "share":
        axis |= {"range": [0, 1.03], "tickformat": ".0%", "dtick": 0.25}
    elif not any(seen):
        axis |= {"range": [0, 1], "dtick": 1}  # not tenths of a preemption
    else:
        axis |= {"range": [0, 1.08 * max(seen)]}
    return axis


def _symbol(point: SweepPoint, look: Mapping[str, Look]) -> str:
    return look[point.engine].symbol + ("-open" if point.is_overloaded else "")


def _label(point: SweepPoint) -> str:
    words = [point.at.label, point.at.panel, "overloaded" if point.is_overloaded else ""]
    return ", ".join(filter(None, words))


_SHOW: dict[str, Callable[[float | None], str]] = {
    "share": units.percent,
    "duration": units.duration,
    "count": units.count,
}


def whiskers(values: Sequence[tuple[float, units.Ends | None]]) -> dict[str, Any]:
    """An open end has no whisker here; its tooltip says so."""
    ends = [pair or (None, None) for _, pair in values]
    known = [value for value, _ in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if e[1] is None else e[1] - v for e, v in zip(ends, known, strict=True)],
        "arrayminus": [0 if e[0] is None else v - e[0] for e, v in zip(ends, known, strict=True)],
        "thickness": 1.2,
        "width": 4,
    }


def setting_axis(sweep: Sweep) -> dict[str, Any]:
    places = [place for place, _ in sweep.ticks]
    if len(places) > MAX_TICKS and places[0] > 0:
        return count_axis(places[0], places[-1], f"{sweep.title}, log scale")
    return {
        "title": {"text": sweep.title},
        "tickvals": [place for place, _ in sweep.ticks],
        "ticktext": [label for _, label in sweep.ticks],
        "zeroline": False,
    }


def pareto(
    sweep: Sweep, look: Mapping[str, Look], across: tuple[str, Read], up: tuple[str, Read]
) -> go.Figure:
    """Both are better when larger, `up` a share; points on the front of all engines are ringed, and
    only they are named, of many the ends: the others' names are in their tooltips."""
    figure = go.Figure(layout=base_layout(height=380))
    places = [
        (point, x, y)
        for point in sweep.points
        for x, y in [(across[1](point.numbers)[0], up[1](point.numbers)[0])]
        if x is not None and y is not None
    ]
    front = pareto_front([(x, y) for _, x, y in places])
    shown = front if len(front) <= MAX_NAMED else (front[0], front[-1])
    named = {id(places[place][0]) for place in shown}
    for engine in sweep.engines:
        mine = [place for place in places if place[0].engine == engine]
        figure.add_scatter(
            name=engine,
            x=[x for _, x, _ in mine],
            y=[y for _, _, y in mine],
            mode="markers+text",
            marker={
                "symbol": [_symbol(point, look) for point, _, _ in mine],
                "size": 9,
                "color": look[engine].colour,
            },
            text=[_label(point) if id(point) in named else "" for point, _, _ in mine],
            textposition="bottom center",
            customdata=[_words(point, x, y) for point, x, y in mine],
            hovertemplate="%{customdata}",
        )
    figure.add_scatter(
        name="front",
        x=[places[place][1] for place in front],
        y=[places[place][2] for place in front],
        mode="markers",
        marker={"symbol": "circle-open", "size": 17, "color": "#888", "line": {"width": 2}},
        hoverinfo="skip",
    )
    figure.update_xaxes(title={"text": across[0]}, zeroline=False)
    figure.update_yaxes(title={"text": up[0]}, range=[0, 1.08], tickformat=".0%", zeroline=False)
    return figure


def _words(point: SweepPoint, x: float, y: float) -> str:
    return f"{_label(point)}: {units.count(x)}, {units.percent(y)}"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices, in order of x, of the points that no other reaches in both directions at once."""
    by_x = sorted(range(len(points)), key=lambda place: (-points[place][0], -points[place][1]))
    front: list[int] = []
    highest = float("-inf")
    for place in by_x:
        if points[place][1] > highest:
            front.append(place)
            highest = points[place][1]
    return front[::-1]
