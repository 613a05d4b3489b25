"""How evenly a thing was spread over the users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import base_layout
from reports.drawing.palette import Look
from reports.drawing.thinning import evenly
from reports.sections.section import Figure, Section
from suite.measuring.fairness import gini_index
from suite.statistics.arrays import Floats

MAX_LORENZ_POINTS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Lorenz:
    """Holds a curve: the worst served `user_ratio` of the users have `share_ratio` of all there
    is."""

    user_ratio: Floats
    share_ratio: Floats
    gini: float


def lorenz_curve(shares: Floats) -> Lorenz | None:
    """Computes the curve of one non-negative number a user; None where all are 0."""
    ascending = np.sort(shares)
    total = float(ascending.sum())
    if total <= 0.0:
        return None
    count = len(ascending)
    so_far = np.concatenate([[0.0], np.cumsum(ascending)]) / total
    gini = gini_index(ascending)
    assert gini is not None, total
    drawn = evenly(count + 1, MAX_LORENZ_POINTS)
    return Lorenz(user_ratio=drawn / count, share_ratio=so_far[drawn], gini=gini)


def lorenz_curves(curves: Mapping[str, Lorenz], look: Mapping[str, Look]) -> go.Figure:
    """Draws the share of all that the worst served users have; the diagonal is even."""
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


def evenness_section(
    curves: Mapping[str, Mapping[str, Lorenz | None]], look: Mapping[str, Look]
) -> Section:
    """Draws the curves; `curves`: engine ▸ "service" and "attainment" ▸ its curve, if it has
    one."""
    shown = []
    for key, title in (
        ("service", "Service per second of waiting"),
        ("attainment", "Turns within SLO"),
    ):
        found = {name: curve for name, each in curves.items() if (curve := each[key]) is not None}
        if found:
            figure = lorenz_curves(found, look)
            shown.append(Figure(figure_id=f"lorenz-{key}", title=title, note="", figure=figure))
    return Section(
        title="How evenly it was spread",
        term="lorenz",
        how_to_read="The nearer to the dotted diagonal, the more even. Where a line is at 20 %, "
        "the users left of it together had a fifth of all.",
        figures=tuple(shown),
    )
