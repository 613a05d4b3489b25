"""Who was served as promised: bars by user class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import MARGIN, READABLE_OR_NONE, base_layout, folded
from reports.drawing.palette import Look, text_on
from reports.sections.section import Figure, RunFacts, Section, from_metrics
from reports.words import units

Json = Mapping[str, Any]
GROUP_RATIO = 0.7  # of a class's room, taken by its bars
LABEL_RATIO = 0.12  # of the axis: the height of a bar's label
MAX_LABELS_ABOVE = 10  # bars, beyond which labels above them would run into each other


def attainment_by_class(
    numbers: Mapping[str, Mapping[str, Json]], key: str, look: Mapping[str, Look], title: str
) -> go.Figure:
    """Draws groups of bars, 0–1, with whiskers where there is an interval. `numbers`: engine ▸
    {class: its `slo` numbers}. Bars are placed by number, so that whiskers and labels can stand on
    them."""
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
        autotickangles=[0, -90],  # upright only where they would lie on each other
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
        """Whether its number stands at its foot, where the whisker leaves room for it."""
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
    """Draws whiskers dark with a light rim, to be seen on every bar and on either page."""
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
    """Draws the numbers of bars too low to hold them, above the whisker, which would run through
    them."""
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


def _show(facts: RunFacts) -> Section:
    shown = []
    for key, title in (
        ("users_within_slo_ratio", "Users within SLO"),
        ("turn_attainment_ratio", "Turns within SLO"),
    ):
        found = {
            name: {"all": each["slo"], **each["slo"]["by_class"]}
            for name, each in facts.numbers.items()
            if each["slo"]
        }
        if found:
            figure = attainment_by_class(found, key, facts.look, title)
            shown.append(Figure(figure_id=f"slo-{key}", title=title, note="", figure=figure))
    return Section(
        title="Who was served as promised",
        term="users_within_slo",
        how_to_read="Higher is better; each group of bars is one user class against its own SLO, "
        "whiskers are 95 % intervals.",
        figures=tuple(shown),
    )


ATTAINMENT = from_metrics(_show)
