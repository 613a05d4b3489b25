"""What is bought with what: two numbers of every run, and the front that no run beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        (point, x, y)
        for point in sweep.points
        for x, y in [(across.read(point.numbers)[0], up.read(point.numbers)[0])]
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
                "symbol": [symbol_of(point, look) for point, _, _ in mine],
                "size": 9,
                "color": look[engine].colour,
            },
            text=[label_of(point) if id(point) in named else "" for point, _, _ in mine],
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
    figure.update_xaxes(title={"text": _in_a_sentence(across.title)}, zeroline=False)
    figure.update_yaxes(
        title={"text": _in_a_sentence(up.title)}, range=[0, 1.08], tickformat=".0%", zeroline=False
    )
    return figure


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
