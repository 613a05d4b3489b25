"""Numbers along the setting that a sweep varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from statistics import median
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import base_layout, count_axis, time_axis
from reports.drawing.palette import Look, faded
from reports.sections.section import Figure, Section
from reports.sections.sweep_points import Sweep, SweepPoint
from reports.sections.swept_numbers import OTHERS, USERS, SweptNumber
from reports.words import units

Json = Mapping[str, Any]
MAX_TICKS = 9  # values, beyond which they could not all be named below an axis
BAND_OPACITY = 0.22
NUDGE = 0.012  # of the axis, so that engines with one number do not hide each other


def along_setting(
    sweep: Sweep, look: Mapping[str, Look], number: SweptNumber, *, panel: str
) -> go.Figure:
    """Draws one panel, on an axis that holds all of them: a mark a run with 95 % whiskers, hollow
    where it was overloaded, a line an engine through the median of the runs (seeds) at a value."""
    figure = go.Figure(layout=base_layout(height=320))
    for engine, ends in sweep.bands.items():
        add_band(figure, ends, look[engine])
    values = (number.read(point.numbers)[0] for point in sweep.points)
    seen = [value for value in values if value is not None]
    for index, engine in enumerate(sweep.engines):
        aside = index - (len(sweep.engines) - 1) / 2
        known = [
            _Mark(point=point, x=_moved(sweep, point.at.place, aside), value=value, ends=ends)
            for point in sweep.panel(panel).of(engine)
            for value, ends in [number.read(point.numbers)]
            if value is not None
        ]
        figure.add_trace(_marks(engine, known, look, number))
        medians = median_line([(each.x, each.value) for each in known], look[engine])
        figure.add_trace(medians.update(legendgroup=engine))
    figure.update_xaxes(setting_axis(sweep))
    figure.update_yaxes(_value_axis(number, seen))
    return figure


def add_band(figure: go.Figure, ends: units.Ends | None, look: Look) -> None:
    """Shades the values between which an engine's limit lies."""
    if ends is not None:
        colour = faded(look.colour, BAND_OPACITY)
        figure.add_vrect(x0=ends[0], x1=ends[1], fillcolor=colour, line_width=0, layer="below")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    point: SweepPoint
    x: float
    value: float
    ends: units.Ends | None


def _moved(sweep: Sweep, place: float, steps: float) -> float:
    """Returns the place that many steps aside on the axis of `setting_axis`; all engines together
    take less than half of the way to the next value."""
    at = np.array([tick for tick, _ in sweep.ticks])
    at = np.log(at) if is_log(sweep) else at
    room = 0.4 * float(np.diff(at).min(initial=np.inf)) / max(1, len(sweep.engines) - 1)
    aside = steps * min(NUDGE * float(np.ptp(at)), room)
    return place * exp(aside) if is_log(sweep) else place + aside


def _marks(
    engine: str, known: Sequence[_Mark], look: Mapping[str, Look], number: SweptNumber
) -> go.Scatter:
    return go.Scatter(
        name=engine,
        x=[each.x for each in known],
        y=[each.value for each in known],
        mode="markers",
        legendgroup=engine,
        marker={
            "symbol": [symbol_of(each.point, look) for each in known],
            "size": 8,
            "color": look[engine].colour,
        },
        error_y=whiskers([(each.value, each.ends) for each in known]),
        customdata=[
            [
                label_of(each.point),
                number.show(each.value),
                units.interval(each.ends, number.show),
            ]
            for each in known
        ],
        hovertemplate="%{customdata[0]}: %{customdata[1]} (95 %: %{customdata[2]})",
    )


def median_line(points: Sequence[tuple[float, float]], look: Look) -> go.Scatter:
    """Draws a line through the median of the values (one a seed) at each place."""
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


def _value_axis(number: SweptNumber, seen: Sequence[float]) -> dict[str, Any]:
    if number.kind == "time":
        return time_axis(min(seen, default=0.01), max(seen, default=1.0), number.title)
    axis: dict[str, Any] = {
        "title": {"text": number.title},
        "zeroline": False,
        "rangemode": "tozero",
    }
    if number.kind == "share":
        axis |= {"range": [0, 1.03], "tickformat": ".0%", "dtick": 0.25}
    elif not any(seen):
        axis |= {"range": [0, 1], "dtick": 1}  # not tenths of a preemption
    else:
        axis |= {"range": [0, 1.08 * max(seen)]}
    return axis


def symbol_of(point: SweepPoint, look: Mapping[str, Look]) -> str:
    return look[point.engine].symbol + ("-open" if point.is_overloaded else "")


def label_of(point: SweepPoint) -> str:
    words = [point.at.label, point.at.panel, "overloaded" if point.is_overloaded else ""]
    return ", ".join(filter(None, words))


def whiskers(values: Sequence[tuple[float, units.Ends | None]]) -> dict[str, Any]:
    """Returns error bars for (value, interval) pairs; an open end has none, its tooltip says so."""
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


def is_log(sweep: Sweep) -> bool:
    """Whether its setting has too many values to name each below the axis, or such as crowd at one
    end of it."""
    is_crowded = sweep.is_by_ratio or len(sweep.ticks) > MAX_TICKS
    return is_crowded and sweep.ticks[0][0] > 0


def setting_axis(sweep: Sweep) -> dict[str, Any]:
    if is_log(sweep):
        first, last = sweep.ticks[0][0], sweep.ticks[-1][0]
        return count_axis(first, last, f"{sweep.title}, log scale")
    return {
        "title": {"text": sweep.title},
        "tickvals": [place for place, _ in sweep.ticks],
        "ticktext": [label for _, label in sweep.ticks],
        "zeroline": False,
    }


def users_section(sweep: Sweep, look: Mapping[str, Look]) -> Section:
    """Draws the users within SLO, a figure for each combination of the other settings."""
    return Section(
        title=f"Users within SLO against {sweep.setting}",
        term="users_within_slo",
        how_to_read="The longer a line stays up, the more load the engine carries before it "
        "breaks its promises; whiskers are 95 % intervals, hollow marks were overloaded.",
        figures=_panels(sweep, look, USERS),
    )


def _panels(sweep: Sweep, look: Mapping[str, Look], number: SweptNumber) -> tuple[Figure, ...]:
    """Draws a figure for each combination of the other settings, all on the same axes."""
    return tuple(
        Figure(
            figure_id=f"sweep-{number.name}-{index}" if panel else f"sweep-{number.name}",
            title=panel or number.title,
            note="",
            figure=along_setting(sweep, look, number, panel=panel),
        )
        for index, panel in enumerate(sweep.panels)
    )


def number_sections(sweep: Sweep, look: Mapping[str, Look]) -> list[Section]:
    """Draws all other numbers in one section; with panels, in a section each."""
    how = (
        f"Every figure has {sweep.setting} across; where a time bends upwards or a share falls, "
        "the engine has reached its limit. Times are on a log scale."
    )
    if sweep.bands:
        how += " The band is where users within SLO fall below the target."
    drawn = {
        each.title: _panels(sweep, look, each)
        for each in OTHERS
        if any(each.read(point.numbers)[0] is not None for point in sweep.points)
    }
    sections = {f"{title} against {sweep.setting}": figures for title, figures in drawn.items()}
    if not sweep.others:
        sections = {"Number by number": tuple(f for each in drawn.values() for f in each)}
    return [
        Section(title=title, term="interval", how_to_read=how, figures=figures)
        for title, figures in sections.items()
    ]
