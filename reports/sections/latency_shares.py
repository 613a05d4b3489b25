"""What the latency of the requests was spent on."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from reports.drawing.axes import LEGEND, MARGIN, READABLE_OR_NONE, base_layout, folded
from reports.drawing.palette import STATE_COLOURS, text_on
from reports.sections.section import Figure, RunFacts, Section, from_metrics
from reports.words import units

NAME_WIDTH = 22  # letters a line: the bars need the room


def latency_shares(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Draws one stacked bar an engine: {STATE_ratio: share of the latency}, adding up to 1."""
    engines = list(shares)
    figure = go.Figure(
        layout=base_layout(
            barmode="stack",
            bargap=0.35,
            height=150 + 46 * len(engines),
            legend={**LEGEND, "traceorder": "normal"},
            margin={**MARGIN, "r": 28},  # so that the last tick is in sight
            uniformtext=READABLE_OR_NONE,
        )
    )
    for state, colour in STATE_COLOURS.items():
        ratios = [shares[engine][f"{state}_ratio"] for engine in engines]
        figure.add_bar(
            name=state.replace("_", " "),
            orientation="h",
            x=ratios,
            y=[folded(engine, NAME_WIDTH) for engine in engines],
            marker={"color": colour, "line": {"width": 0}},
            text=[units.percent(ratio) if ratio >= 0.08 else "" for ratio in ratios],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": text_on(colour)},
            textangle=0,
            customdata=[units.percent(ratio) for ratio in ratios],
            hovertemplate="%{y}: %{customdata}",
        )
    figure.update_xaxes(
        title={"text": "share of the latency"},
        range=[0, 1.002],
        tickformat=".0%",
        dtick=0.25,
        zeroline=False,
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return figure


def _show(facts: RunFacts) -> Section:
    shown = []
    switching = {name: engine["context_switch"] or {} for name, engine in facts.numbers.items()}
    for key, title in (
        ("latency_shares", "All requests"),
        ("latency_shares_p99", "The slowest 1 %"),
    ):
        shares = {name: each[key] for name, each in switching.items() if each.get(key)}
        if shares:
            note = " ".join(
                f"{name}: {each['unavailable'][key]}."
                for name, each in switching.items()
                if each and name not in shares and key in each["unavailable"]
            )
            figure = latency_shares(shares)
            shown.append(Figure(figure_id=key, title=title, note=note, figure=figure))
    return Section(
        title="Where the time went",
        term="latency_shares",
        how_to_read="What the latency of the requests was spent on inside the engine; only the "
        "last part of each bar is work, all before it is waiting. What switching costs is "
        "preempted, swap wait and stalled. The parts of a bar add up to 100\u00a0%.",
        figures=tuple(shown),
    )


LATENCY_SHARES = from_metrics(_show)
