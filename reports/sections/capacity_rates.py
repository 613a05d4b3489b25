"""The share of users within SLO over the rate, as a search in wall time saw it, and its bracket."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, count_axis
from reports.drawing.palette import Look
from reports.sections.along_setting import add_band, whiskers
from reports.sections.section import Figure, Section
from reports.words.limiting import long_run
from suite.sweep.capacity_result import CapacityResult, EngineCapacity, RateSeen

ANSWERS = {"holds": "holds", "fails": "does not hold", "unsure": "not told"}


def rates_section(found: CapacityResult, look: Mapping[str, Look]) -> Section:
    """Draws a mark a rate with the interval of its share in the long run; hollow where that did not
    tell on which side of the target it lies."""
    title = "Users within SLO against the rate"
    return Section(
        title=title,
        term="users_within_slo",
        how_to_read="The share of those who were judged at each rate; a run ends as "
        "soon as the interval of the share in the long run has left the dashed line, and the "
        "whisker is the end that did (95 %, all looks together). Hollow marks: not told, with both "
        "ends. The band is the knee: up to its left edge it is known that enough users are within "
        "SLO, from its right edge on that they are not.",
        figures=(
            Figure(
                figure_id="capacity-users",
                title=title,
                note="",
                figure=users_over_rates(found, look),
            ),
        ),
    )


def users_over_rates(found: CapacityResult, look: Mapping[str, Look]) -> go.Figure:
    figure = go.Figure(layout=base_layout(height=360))
    for engine in found.engines:
        add_band(figure, engine.interval, look[engine.engine])
    line = {"color": "#888", "dash": "dash", "width": 1}
    figure.add_hline(y=found.target_ratio, line=line)
    for engine in found.engines:
        figure.add_trace(_marks(engine, look[engine.engine]))
    rates = [each.rate for engine in found.engines for each in engine.rates]
    figure.update_xaxes(count_axis(min(rates), max(rates), "conversations/s, log scale"))
    figure.update_yaxes(
        title={"text": "users within SLO"}, range=[0, 1.03], tickformat=".0%", dtick=0.25
    )
    return figure


def _marks(engine: EngineCapacity, look: Look) -> go.Scatter:
    rates = [each for each in engine.rates if each.num_users]
    shares = [each.num_within_slo / each.num_users for each in rates]
    return go.Scatter(
        name=engine.engine,
        x=[each.rate for each in rates],
        y=shares,
        mode="markers+lines",
        line={"color": look.colour, "dash": look.dash, "width": 1.5},
        marker={
            "symbol": [look.symbol + ("-open" if _is_open(each) else "") for each in rates],
            "size": 9,
            "color": look.colour,
        },
        error_y=whiskers(
            [(share, _around(share, each)) for share, each in zip(shares, rates, strict=True)]
        ),
        text=[_words(each) for each in rates],
        hovertemplate="%{text}",
    )


def _is_open(seen: RateSeen) -> bool:
    return seen.answer == "unsure"


def _around(share: float, seen: RateSeen) -> tuple[float, float]:
    """Returns the end that decided, or both where none did; the share itself stands for the other,
    as it does where the share seen so far lies outside of the interval."""
    low = share if seen.answer == "fails" else min(seen.interval[0], share)
    high = share if seen.answer == "holds" else max(seen.interval[1], share)
    return low, high


def _words(seen: RateSeen) -> str:
    return (
        f"{seen.rate:.3g}/s: {ANSWERS[seen.answer]}, {seen.num_within_slo} of {seen.num_users} "
        f"users (95 %: {long_run(seen)})"
    )
