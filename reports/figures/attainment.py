"""Who was served as promised, drawn: bars by class, users by turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import MARGIN, READABLE_OR_NONE, base_layout, folded
from reports.drawing.palette import Look, text_on
from reports.views.attainment import HeatMap
from reports.words import units

Json = Mapping[str, Any]
# Times the SLO: blue kept, orange missed (Tol's "sunset" ends), white at the SLO itself.
SCALE = ((0.0, "#364B9A"), (0.25, "#6EA6CD"), (0.5, "#EAECCC"), (0.75, "#F67E4B"), (1.0, "#A50026"))
REACH = 3  # the scale ends at 2 ** ±REACH times the SLO
ALL_TICKS = 20  # users, from which on the colour bar is long enough for every power of two
GROUP_RATIO = 0.7  # of a class's room, taken by its bars
LABEL_RATIO = 0.12  # of the axis: the height of a bar's label
MAX_LABELS_ABOVE = 10  # bars, beyond which labels above them would run into each other


def attainment_by_class(
    numbers: Mapping[str, Mapping[str, Json]], key: str, look: Mapping[str, Look], title: str
) -> go.Figure:
    """Groups of bars, 0–1: engine ▸ {class: its `slo` numbers}, with whiskers where they have an
    interval. Bars are placed by number, so that whiskers and labels can stand on them."""
    classes = list(dict.fromkeys(name for each in numbers.values() for name in each))
    figure = go.Figure(layout=base_layout(barmode="overlay", uniformtext=READABLE_OR_NONE))
    width = GROUP_RATIO / len(numbers)
    is_roomy = len(numbers) * len(classes) <= MAX_LABELS_ABOVE
    for index, (engine, by_class) in enumerate(numbers.items()):
        bars = [
            _bar(each[key], (each.get("interval") or {}).get(key), x=place)
            for name, each in by_class.items()
            for place in [classes.index(name) + (index - (len(numbers) - 1) / 2) * width]
        ]
        figure.add_trace(_bars(bars, engine, look[engine].colour, 0.92 * width, list(by_class)))
        figure.add_traces(_whiskers(bars, engine, cap=5 if is_roomy else 2))
        if is_roomy:
            figure.add_trace(_labels_above(bars, engine))
    figure.update_xaxes(
        showgrid=False,
        zeroline=False,
        tickvals=list(range(len(classes))),
        ticktext=[folded(name, 14) for name in classes],
        tickangle=0,
        range=[-0.5, len(classes) - 0.5],
    )
    figure.update_layout(margin={**MARGIN, "b": 32})
    figure.update_yaxes(
        title={"text": title}, range=[0, 1.12], tickformat=".0%", dtick=0.25, zeroline=False
    )
    return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    x: float
    ratio: float | None
    low: float  # an open end of the interval reaches as far as a ratio can
    high: float
    interval: Sequence[float | None] | None

    @property
    def has_label_inside(self) -> bool:
        """At its foot, where the whisker leaves room for it."""
        return self.low >= LABEL_RATIO


def _bar(ratio: float | None, interval: Sequence[float | None] | None, *, x: float) -> _Bar:
    known = ratio or 0.0
    low, high = interval or (known, known)
    return _Bar(
        x=x,
        ratio=ratio,
        low=0.0 if low is None else low,
        high=1.0 if high is None else high,
        interval=interval,
    )


def _bars(
    bars: Sequence[_Bar], engine: str, colour: str, width: float, classes: Sequence[str]
) -> go.Bar:
    return go.Bar(
        name=engine,
        legendgroup=engine,
        x=[each.x for each in bars],
        y=[each.ratio for each in bars],
        width=width,
        marker={"color": colour},
        text=[units.percent(each.ratio) if each.has_label_inside else "" for each in bars],
        textposition="inside",
        insidetextanchor="start",
        insidetextfont={"color": text_on(colour)},
        textangle=0,
        customdata=[
            [name, units.percent(each.ratio), units.percent_interval(each.interval)]
            for name, each in zip(classes, bars, strict=True)
        ],
        hovertemplate="%{customdata[0]}: %{customdata[1]}, 95 %: %{customdata[2]}",
    )


def _whiskers(bars: Sequence[_Bar], engine: str, *, cap: int) -> list[go.Scatter]:
    """Dark with a light rim: to be seen on every bar and on either page."""
    known = [each for each in bars if each.interval is not None]
    return [
        go.Scatter(
            legendgroup=engine,
            showlegend=False,
            hoverinfo="skip",
            mode="markers",
            marker={"opacity": 0},
            x=[each.x for each in known],
            y=[each.ratio for each in known],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [each.high - (each.ratio or 0.0) for each in known],
                "arrayminus": [(each.ratio or 0.0) - each.low for each in known],
                "thickness": thickness,
                "width": cap,
                "color": colour,
            },
        )
        for colour, thickness in (("#fff", 3), ("#333", 1.2))
        if known
    ]


def _labels_above(bars: Sequence[_Bar], engine: str) -> go.Scatter:
    """Of bars too low for their number: above the whisker, which would run through it."""
    shown = [each for each in bars if each.ratio is not None and not each.has_label_inside]
    return go.Scatter(
        legendgroup=engine,
        showlegend=False,
        hoverinfo="skip",
        mode="text",
        x=[each.x for each in shown],
        y=[each.high for each in shown],
        text=[units.percent(each.ratio) for each in shown],
        textposition="top center",
        textfont={"size": 11},
    )


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
            **_powers(range(-REACH, REACH + 1, 1 if num_users >= ALL_TICKS else REACH)),
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


def _powers(powers: Sequence[int]) -> dict[str, Any]:
    """Ticks of the colour bar, whose ends hold all that is beyond."""
    beyond = {-REACH: "≤ ", REACH: "≥ "}
    return {
        "tickvals": list(powers),
        "ticktext": [f"{beyond.get(power, '')}{2.0**power:g}×" for power in powers],
    }


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
