"""Service drawn: what waiting users got over time, and how evenly it was spread over them."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from reports.axes import base_layout
from reports.palette import CLASS_COLOURS, DASHES, Look
from reports.views.service import Lorenz, ServiceView


def service_over_time(view: ServiceView) -> go.Figure:
    """Weighted tokens a second that a waiting user of each class got, and the largest gap."""
    figure = go.Figure(layout=base_layout(hovermode="x unified"))
    figure.add_bar(
        name="largest gap between two users",
        x=view.at,
        y=view.gap,
        width=view.window_s,
        marker={"color": "#A9B3BE", "opacity": 0.45, "line": {"width": 0}},
        hovertemplate="%{y:.3s}",
    )
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
            hovertemplate="%{y:.3s}",
        )
    if view.widest is not None:
        figure.add_annotation(
            x=view.at[view.widest.window],
            y=view.gap[view.widest.window],
            text=f"{view.widest.best_user}<br>against {view.widest.worst_user}",
            showarrow=True,
            arrowhead=2,
            ax=0,
            ay=-26,
        )
    figure.update_xaxes(title={"text": "seconds after the start"}, zeroline=False)
    figure.update_yaxes(
        title={"text": "service, weighted tokens/s"}, rangemode="tozero", zeroline=False
    )
    return figure


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
