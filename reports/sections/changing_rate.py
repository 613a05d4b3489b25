"""Tails over time, above the rate that was planned for it: what a step or a ramp does to users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from pydantic import TypeAdapter

from reports.drawing.axes import base_layout, time_axis
from reports.drawing.palette import WAITING, Look, faded
from reports.sections.engine_records import EngineRecords
from reports.sections.section import Figure, RunFacts, RunSection, Section
from reports.words import units
from suite.measuring.latencies import samples_and_rows
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats, Ints
from workloads.rate_profile import RateProfile, rate_profile
from workloads.spec_traffic import ArrivalsSpec

LATENCIES = {"ttft_s": "Time to first token", "tbt_s": "Time between tokens"}
MAX_STRETCHES = 40
TURNS_A_STRETCH = 25  # on the average, so that most have a P95
TAIL_RATIO, LEAST_FOR_TAIL, LEAST_FOR_MEDIAN = 0.95, 20, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Holds one latency in equal stretches of time; all arrays [num_stretches], NaN = too few."""

    at: Floats  # their middles
    median: Floats
    tail: Floats
    num_turns: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangingView:
    stretch_s: float
    courses: Mapping[str, Course]  # by latency


def changing_view(turns: TurnTable, num_repeats: int) -> ChangingView | None:
    """Returns the latencies by when their turns were due; None where nothing was recorded."""
    if not len(turns):
        return None
    end = float(turns.scheduled_at.max())
    num = len(turns) // TURNS_A_STRETCH // max(1, num_repeats)
    edges = np.linspace(0.0, max(end, 1e-6), int(np.clip(num, 4, MAX_STRETCHES)) + 1)
    return ChangingView(
        stretch_s=float(edges[1]),
        courses={name: _course(turns, name, edges) for name in LATENCIES},
    )


def _course(turns: TurnTable, name: str, edges: Floats) -> Course:
    place = np.clip(np.searchsorted(edges, turns.scheduled_at, side="right") - 1, 0, len(edges) - 2)
    values, rows = samples_and_rows(turns, np.ones(len(turns), dtype=bool), name)
    of_value = place[rows]
    found = [values[of_value == k] for k in range(len(edges) - 1)]
    return Course(
        at=(edges[1:] + edges[:-1]) / 2,
        median=np.array([_quantile(each, 0.5, LEAST_FOR_MEDIAN) for each in found]),
        tail=np.array([_quantile(each, TAIL_RATIO, LEAST_FOR_TAIL) for each in found]),
        num_turns=np.array([len(np.unique(rows[of_value == k])) for k in range(len(found))]),
    )


def _quantile(values: Floats, ratio: float, least: int) -> float:
    if len(values) < least:
        return float("nan")
    return float(np.quantile(values, ratio, method="inverted_cdf"))


def over_time(
    courses: Mapping[str, Course], look: Mapping[str, Look], profile: RateProfile, title: str
) -> go.Figure:
    """Draws median (thin) and P95 (thick) of each engine, and below, on the same time, the planned
    rate."""
    drawn = [values for each in courses.values() for values in (each.median, each.tail)]
    seen = np.concatenate([*drawn, np.empty(0)])
    seen = seen[~np.isnan(seen)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.01, 1.0)
    ends = [float(each.at[-1] + each.at[0]) for each in courses.values()]  # of the last stretches
    end = max(profile.duration_s, *ends)
    figure = go.Figure(layout=_layout(time_axis(low, high, title), end))
    for engine, course in courses.items():
        for name, values, width in (("P50", course.median, 1.2), ("P95", course.tail, 2.5)):
            figure.add_trace(_line(f"{engine} {name}", course, values, look[engine], width))
    figure.add_trace(_rate_line(profile, end))
    return figure


def _line(name: str, course: Course, values: Floats, look: Look, width: float) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=course.at,
        y=values,
        mode="lines+markers",
        line={"color": look.colour, "width": width, "dash": look.dash},
        marker={"symbol": look.symbol, "size": 3 + width},
        customdata=[
            ["too few" if np.isnan(value) else units.duration(float(value)), units.count(int(num))]
            for value, num in zip(values, course.num_turns, strict=True)
        ],
        hovertemplate="%{customdata[0]} (%{customdata[1]} turns)",
    )


def _rate_line(profile: RateProfile, end: float) -> go.Scatter:
    points = profile.points()
    if end > points[-1][0]:
        points = [*points, (points[-1][0], 0.0)]  # nobody new comes after the plan's last start
    return go.Scatter(
        name="planned rate",
        x=[at for at, _ in points],
        y=[rate for _, rate in points],
        yaxis="y2",
        mode="lines",
        fill="tozeroy",
        fillcolor=faded(WAITING, 0.35),
        line={"color": WAITING, "width": 1.5},
        hovertemplate="%{y:.3g} conversations/s",
    )


def _layout(axis: dict[str, Any], end: float) -> go.Layout:
    return base_layout(
        hovermode="x unified",
        height=420,
        xaxis={
            "title": {"text": "seconds after the start"},
            "range": [0, end],
            "zeroline": False,
            "anchor": "y2",
        },
        yaxis={**axis, "domain": [0.36, 1.0]},
        yaxis2={
            "title": {"text": "conversations/s"},
            "domain": [0.0, 0.26],
            "rangemode": "tozero",
            "zeroline": False,
            "nticks": 4,
        },
    )


def _read(records: EngineRecords) -> ChangingView | None:
    return changing_view(records.turns, len(records.logs))


def _profile(arrivals: object) -> RateProfile | None:
    """Returns the planned rate of a resolved file's arrivals; None where it does not change."""
    if arrivals is None:  # of a run that was not made from a file
        return None
    return rate_profile(TypeAdapter[ArrivalsSpec](ArrivalsSpec).validate_python(arrivals))


def _show(facts: RunFacts, views: Mapping[str, ChangingView]) -> list[Section]:
    profile = _profile(facts.manifest.workload.get("arrivals"))
    if profile is None or not views:
        return []
    stretch = units.duration(max(each.stretch_s for each in views.values()))
    figures = []
    for key, title in LATENCIES.items():
        courses = {name: each.courses[key] for name, each in views.items()}
        figures.append(
            Figure(
                figure_id=f"rate-{key}",
                title=title,
                note=f"Stretches of {stretch}, by when a turn was due. A P95 needs "
                f"{LEAST_FOR_TAIL} samples, a median {LEAST_FOR_MEDIAN}.",
                figure=over_time(courses, facts.look, profile, title.lower()),
            )
        )
    return [
        Section(
            title="Tails while the rate changes",
            term="ttft",
            how_to_read="Above: median (thin) and P95 (thick) of the turns that were due then. "
            "Below: the rate at which new conversations were planned to come. A tail that rises "
            "with the rate and falls with it is load that the engine carries; one that stays up "
            "after the rate has fallen is backlog.",
            figures=tuple(figures),
        )
    ]


CHANGING_RATE = RunSection(read=_read, show=_show)
