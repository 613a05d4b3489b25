"""What is bought with what: two numbers of every run, and the front that no run beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from reports.drawing.axes import base_layout
from reports.drawing.palette import Look
from reports.sections.along_setting import label_of, symbol_of
from reports.sections.section import Figure, Section
from reports.sections.sweep_points import Sweep, SweepPoint
from reports.sections.swept_numbers import TOKENS, USERS, SweptNumber
from reports.words import units

MAX_NAMED = 5  # points of the front, beyond which names would run into each other


def pareto(
    sweep: Sweep, look: Mapping[str, Look], across: SweptNumber, up: SweptNumber
) -> go.Figure:
    """Draws each run as a point; more is better in both numbers, `up` is a share. Points of the
    front are ringed and named (of many the two ends), the others are named in their tooltips."""
    figure = go.Figure(layout=base_layout(height=380))
    places = [
        _Point(point=point, x=x, y=y)
        for point in sweep.points
        for x, y in [(across.read(point.numbers)[0], up.read(point.numbers)[0])]
        if x is not None and y is not None
    ]
    front = [places[index] for index in pareto_front([(each.x, each.y) for each in places])]
    named = front if len(front) <= MAX_NAMED else [front[0], front[-1]]
    for engine in sweep.engines:
        mine = [each for each in places if each.point.engine == engine]
        figure.add_trace(_marks(mine, engine, look, named))
    figure.add_trace(_rings(front))
    x_title, y_title = (_in_a_sentence(each.title) for each in (across, up))
    figure.update_xaxes(title={"text": x_title}, zeroline=False)
    figure.update_yaxes(title={"text": y_title}, range=[0, 1.08], tickformat=".0%", zeroline=False)
    return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    point: SweepPoint
    x: float
    y: float


def _marks(
    mine: Sequence[_Point], engine: str, look: Mapping[str, Look], named: Sequence[_Point]
) -> go.Scatter:
    is_named = {id(each) for each in named}
    return go.Scatter(
        name=engine,
        x=[each.x for each in mine],
        y=[each.y for each in mine],
        mode="markers+text",
        marker={
            "symbol": [symbol_of(each.point, look) for each in mine],
            "size": 9,
            "color": look[engine].colour,
        },
        text=[label_of(each.point) if id(each) in is_named else "" for each in mine],
        textposition="bottom center",
        customdata=[_words(each.point, each.x, each.y) for each in mine],
        hovertemplate="%{customdata}",
    )


def _rings(front: Sequence[_Point]) -> go.Scatter:
    return go.Scatter(
        name="front",
        x=[each.x for each in front],
        y=[each.y for each in front],
        mode="markers",
        marker={"symbol": "circle-open", "size": 17, "color": "#888", "line": {"width": 2}},
        hoverinfo="skip",
    )


def _in_a_sentence(title: str) -> str:
    return title[0].lower() + title[1:]


def _words(point: SweepPoint, x: float, y: float) -> str:
    return f"{label_of(point)}: {units.count(x)}, {units.percent(y)}"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the places, in order of x, of the points that no other reaches in both numbers."""
    by_x = sorted(range(len(points)), key=lambda place: (-points[place][0], -points[place][1]))
    front: list[int] = []
    highest = float("-inf")
    for place in by_x:
        if points[place][1] > highest:
            front.append(place)
            highest = points[place][1]
    return front[::-1]


def pareto_section(sweep: Sweep, look: Mapping[str, Look]) -> Section:
    front = Figure(
        figure_id="sweep-pareto",
        title="Output tokens/s against users within SLO",
        note="",
        figure=pareto(sweep, look, TOKENS, USERS),
    )
    return Section(
        title="What is bought with what",
        term="pareto",
        how_to_read="Up and to the right is better in both; each point is a run, and ringed "
        "ones are those that no other beats in both directions.",
        figures=(front,),
    )
