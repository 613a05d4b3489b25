"""How far the tails go: percentiles with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, time_axis
from reports.drawing.palette import Look
from reports.sections.section import Figure, RunFacts, Section, from_metrics
from reports.words import units

Json = Mapping[str, Any]
TAIL = {"p50": "P50", "p90": "P90", "p95": "P95", "p99": "P99", "p999": "P99.9", "max": "max"}


def tail_percentiles(
    summaries: Mapping[str, Json], look: Mapping[str, Look], title: str
) -> go.Figure:
    """Draws one line an engine over P50…P99.9 and the maximum; whiskers are the 95 % intervals."""
    figure = go.Figure(layout=base_layout(hovermode="x unified"))
    seen = [value for summary in summaries.values() for value in _drawn(summary)]
    axis = time_axis(min(seen, default=0.01), max(seen, default=1.0), title)
    bottom, top = (10.0**end for end in axis["range"])
    for index, (engine, summary) in enumerate(summaries.items()):
        nudge = (index - (len(summaries) - 1) / 2) * 0.07  # so that whiskers do not hide each other
        figure.add_trace(_line(engine, summary, look[engine], nudge, (bottom / 2, 2 * top)))
    figure.update_xaxes(
        title={"text": "percentile"},
        tickvals=list(range(len(TAIL))),
        ticktext=list(TAIL.values()),
        range=[-0.4, len(TAIL) - 0.6],
        zeroline=False,
        showgrid=False,
    )
    figure.update_yaxes(axis)
    return figure


def _line(
    engine: str, summary: Json, look: Look, nudge: float, outside: tuple[float, float]
) -> go.Scatter:
    """`outside`: values below and above the axis, as far as an open end reaches."""
    names = [name for name in TAIL if summary[name] is not None]
    values = [summary[name] for name in names]
    ends = [summary["interval"].get(name) for name in names]  # None for the maximum
    return go.Scatter(
        name=engine,
        x=[list(TAIL).index(name) + nudge for name in names],
        y=values,
        mode="lines+markers",
        line={"color": look.colour, "dash": look.dash, "width": 2},
        marker={"color": look.colour, "symbol": look.symbol, "size": 9},
        error_y={
            "type": "data",
            "symmetric": False,
            **_whiskers(values, ends, *outside),
            "thickness": 1.5,
            "width": 5,
        },
        customdata=[
            [units.duration(value), units.duration_interval(end)]
            for value, end in zip(values, ends, strict=True)
        ],
        hovertemplate="%{customdata[0]} (95 %: %{customdata[1]})",
    )


def _drawn(summary: Json) -> list[float]:
    """Returns what the axis must hold; an open end needs some room to leave the figure through."""
    found = []
    for name in TAIL:
        if summary[name] is not None:
            low, high = summary["interval"].get(name) or (summary[name], summary[name])
            found += [summary[name], low or 0.8 * summary[name], high or 1.25 * summary[name]]
    return found


def _whiskers(
    values: Sequence[float],
    ends: Sequence[Sequence[float | None] | None],
    below: float,
    above: float,
) -> dict[str, list[float]]:
    """Returns the lengths to either side; an open end reaches `below` or `above`, outside the
    axis."""
    pairs = [end or (value, value) for end, value in zip(ends, values, strict=True)]
    lows = [below if low is None else low for low, _ in pairs]
    highs = [above if high is None else high for _, high in pairs]
    return {
        "array": [high - value for high, value in zip(highs, values, strict=True)],
        "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
    }


def _show(facts: RunFacts) -> Section:
    shown = []
    for key, title in (("ttft_s", "Time to first token"), ("tbt_s", "Time between tokens")):
        summaries = {name: each[key] for name, each in facts.numbers.items() if each[key]["count"]}
        if summaries:
            figure = tail_percentiles(summaries, facts.look, title.lower())
            note = _left_out(summaries)
            shown.append(Figure(figure_id=f"tail-{key}", title=title, note=note, figure=figure))
    return Section(
        title="How far the tails go",
        term="interval",
        how_to_read="Lower is better, and flat to the right means no stalls. Whiskers are 95 % "
        "intervals; where those of two engines overlap, the run does not tell them apart. One that "
        "leaves the figure is open: too few samples to bound it. Time is on a log scale.",
        figures=tuple(shown),
    )


def _left_out(summaries: Mapping[str, Json]) -> str:
    missing = [
        f"{name}: {', '.join(TAIL[each] for each in summary['unavailable'])}"
        for name, summary in summaries.items()
        if summary["unavailable"]
    ]
    return f"Too few samples to show {'; '.join(missing)}." if missing else ""


TAILS = from_metrics(_show)
