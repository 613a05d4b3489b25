"""Who was served as promised, drawn: bars by class, users by turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports import units
from reports.axes import MARGIN, READABLE_OR_NONE, base_layout
from reports.palette import Look, text_on
from reports.views.attainment import HeatMap

Json = Mapping[str, Any]
# Times the SLO: blue kept, orange missed (Tol's "sunset" ends), white at the SLO itself.
SCALE = ((0.0, "#364B9A"), (0.25, "#6EA6CD"), (0.5, "#EAECCC"), (0.75, "#F67E4B"), (1.0, "#A50026"))
REACH = 3  # the scale ends at 2 ** ±REACH times the SLO


def attainment_by_class(
    numbers: Mapping[str, Mapping[str, Json]], key: str, look: Mapping[str, Look], title: str
) -> go.Figure:
    """Grouped bars, 0–1: engine ▸ {class: its `slo` numbers}, with whiskers where they have an
    interval."""
    figure = go.Figure(
        layout=base_layout(
            barmode="group", bargap=0.3, bargroupgap=0.08, uniformtext=READABLE_OR_NONE
        )
    )
    for engine, by_class in numbers.items():
        ratios = [each[key] for each in by_class.values()]
        ends = [(each.get("interval") or {}).get(key) for each in by_class.values()]
        figure.add_bar(
            name=engine,
            x=list(by_class),
            y=ratios,
            error_y=_whiskers(ratios, ends) if any(ends) else None,
            marker={"color": look[engine].colour},
            text=[units.percent(ratio) for ratio in ratios],
            # A bar too low for its number has it above.
            textposition=["inside" if (ratio or 0) >= 0.1 else "outside" for ratio in ratios],
            insidetextanchor="start",
            insidetextfont={"color": text_on(look[engine].colour)},
            textangle=0,
            cliponaxis=False,
            customdata=[units.percent_interval(each) for each in ends],
            hovertemplate="%{x}: %{text}, 95 %: %{customdata}",
        )
    figure.update_xaxes(showgrid=False)
    figure.update_layout(margin={**MARGIN, "b": 32})
    figure.update_yaxes(
        title={"text": title}, range=[0, 1.08], tickformat=".0%", dtick=0.25, zeroline=False
    )
    return figure


def _whiskers(
    ratios: Sequence[float | None], ends: Sequence[Sequence[float | None] | None]
) -> dict[str, Any]:
    """An open end reaches as far as a ratio can."""
    low = [0.0 if end is None or end[0] is None else end[0] for end in ends]
    high = [1.0 if end is None or end[1] is None else end[1] for end in ends]
    known = [ratio or 0.0 for ratio in ratios]
    is_given = [end is not None for end in ends]
    above = np.where(is_given, np.subtract(high, known), 0.0)
    below = np.where(is_given, np.subtract(known, low), 0.0)
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "thickness": 1.5,
        "width": 5,
        "color": "#888",
    }


def slo_heat_map(view: HeatMap) -> go.Figure:
    """Users by turns: how many times its SLO a turn took, on a log scale about 1."""
    num_users, num_turns = view.used.shape
    figure = go.Figure(layout=_heat_layout(view, num_users, num_turns))
    figure.add_heatmap(
        name="times the SLO",
        z=np.round(np.clip(np.log2(np.maximum(view.used, 1e-6)), -REACH, REACH), 2),
        x=list(range(1, num_turns + 1)),
        y=list(range(num_users)),
        text=_texts(view),
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        zmin=-REACH,
        zmax=REACH,
        colorscale=SCALE,
        xgap=1,
        ygap=1 if num_users <= 30 else 0,
        colorbar={
            "title": {"text": "times the SLO", "side": "right"},
            "tickvals": list(range(-REACH, REACH + 1)),
            "ticktext": [f"{2.0**power:g}×" for power in range(-REACH, REACH + 1)],
            "thickness": 12,
            "outlinewidth": 0,
        },
    )
    users, turns = np.nonzero(view.is_missed)
    figure.add_scatter(
        name="failed or lost",
        showlegend=len(users) > 0,
        mode="markers",
        x=turns + 1,
        y=users,
        marker={"symbol": "x", "size": 7, "color": "#888"},
        text=[
            f"{view.user_id[user]}, turn {turn + 1}"
            for user, turn in zip(users, turns, strict=True)
        ],
        hovertemplate="%{text}: no whole answer<extra></extra>",
    )
    return figure


def _heat_layout(view: HeatMap, num_users: int, num_turns: int) -> go.Layout:
    return base_layout(
        height=max(240, min(560, 110 + 12 * num_users)),
        margin={**MARGIN, "r": 8},
        xaxis={
            "title": {"text": "turn of the user"},
            "range": [0.5, num_turns + 0.5],
            "dtick": max(1, num_turns // 10),
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {"text": "users, worst on top"},
            "range": [num_users - 0.5, -0.5],
            "showticklabels": False,
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
        },
    )


def _texts(view: HeatMap) -> list[list[str]]:
    return [
        [_text(view, user, turn) for turn in range(view.used.shape[1])]
        for user in range(view.used.shape[0])
    ]


def _text(view: HeatMap, user: int, turn: int) -> str:
    used = view.used[user, turn]
    if np.isnan(used):
        return ""
    kept = "kept" if used <= 1 else "missed"
    return (
        f"{view.user_id[user]} ({view.user_class[user]}), turn {turn + 1}: "
        f"{units.times(float(used))} its SLO, {kept}"
    )
