"""Service drawn: what waiting users got over time, and how evenly it was spread over them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout
from reports.drawing.palette import CLASS_COLOURS, DASHES, Look
from reports.views.service import Lorenz, ServiceView
from reports.words import units
from suite.statistics.arrays import Floats


def service_over_time(view: ServiceView) -> go.Figure:
    """Weighted tokens a second that a waiting user of each class got; below, on the same time, how
    far two waiting users are apart."""
    figure = go.Figure(layout=_layout(view.gaps is not None))
    for index, (name, rate) in enumerate(view.rate_by_class.items()):
        figure.add_scatter(
            name=name,
            x=view.at,
            y=rate,
            mode="lines+markers",
            line={
                "color": CLASS_COLOURS[index % len(CLASS_COLOURS)],
                "dash": DASHES[index % len(DASHES)],
                "width": 2,
            },
            marker={"size": 4},
            customdata=_texts(rate),
            hovertemplate="%{customdata} tokens/s",
        )
    if view.gaps is not None:
        figure.add_scatter(
            name="largest gap",
            x=view.gaps.at,
            y=view.gaps.tokens,
            yaxis="y2",
            mode="lines",
            fill="tozeroy",
            line={"color": "#8A8F98", "width": 1.2, "shape": "hvh"},
            customdata=_texts(view.gaps.tokens),
            hovertemplate="%{customdata} tokens",
        )
    return figure


def _texts(values: Floats) -> list[str]:
    return [units.count(None if isnan(value) else value) for value in values.tolist()]


def _layout(has_gaps: bool) -> go.Layout:
    axes: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "seconds after the start"},
            "zeroline": False,
            "anchor": "y2" if has_gaps else "y",
        },
        "yaxis": {
            "title": {"text": "tokens/s, weighted"},
            "rangemode": "tozero",
            "zeroline": False,
            "domain": [0.42, 1.0] if has_gaps else [0.0, 1.0],
        },
    }
    if has_gaps:
        axes["yaxis2"] = {
            "title": {"text": "gap, tokens"},
            "domain": [0.0, 0.3],
            "rangemode": "tozero",
            "zeroline": False,
            "nticks": 4,
        }
    return base_layout(hovermode="x unified", height=420 if has_gaps else 340, **axes)


def lorenz_curves(curves: Mapping[str, Lorenz], look: Mapping[str, Look]) -> go.Figure:
    """Share of all service that the worst served users have; the diagonal is even."""
    figure = go.Figure(layout=base_layout(height=360))
    figure.add_scatter(
        name="even",
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": "#888", "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    for engine, curve in curves.items():
        figure.add_scatter(
            name=f"{engine}, Gini {curve.gini:.2f}",
            x=curve.user_ratio,
            y=curve.share_ratio,
            mode="lines",
            line={"color": look[engine].colour, "dash": look[engine].dash, "width": 2},
            hovertemplate="the worst served %{x:.0%} of the users have %{y:.1%}",
        )
    share = {"tickformat": ".0%", "dtick": 0.25, "zeroline": False}
    figure.update_xaxes(title={"text": "users, the worst served first"}, range=[0, 1.005], **share)
    figure.update_yaxes(title={"text": "their share of all"}, range=[0, 1.02], **share)
    return figure
