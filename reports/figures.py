"""One function a figure: data in, Plotly Figure out. No files, no theme: the page paints that.

Engines come as mappings in the manifest's order; `Look` gives each the same colour everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from reports import units
from reports.axes import MARGIN, base_layout, nines, nines_axis, time_axis
from reports.palette import FAILED, STALL_SCALE, WAITING, Look
from reports.thinning import Ecdf, Floats

Json = Mapping[str, Any]
TAIL = {"p50": "P50", "p90": "P90", "p95": "P95", "p99": "P99", "p999": "P99.9", "max": "max"}


def tail_percentiles(
    summaries: Mapping[str, Json], look: Mapping[str, Look], title: str
) -> go.Figure:
    """One line per engine over P50…P99.9 and the maximum; whiskers are the 95 % intervals."""
    figure = go.Figure(layout=base_layout(hovermode="x unified"))
    seen: list[float] = []
    for index, (engine, summary) in enumerate(summaries.items()):
        names = [name for name in TAIL if summary[name] is not None]
        values = [summary[name] for name in names]
        ends = [summary["interval"].get(name) for name in names]  # None for the maximum
        nudge = (index - (len(summaries) - 1) / 2) * 0.07  # so that whiskers do not hide each other
        seen += values + [end for pair in ends if pair for end in pair if end is not None]
        figure.add_scatter(
            name=engine,
            x=[list(TAIL).index(name) + nudge for name in names],
            y=values,
            mode="lines+markers",
            line={"color": look[engine].colour, "dash": look[engine].dash, "width": 2},
            marker={"color": look[engine].colour, "symbol": look[engine].symbol, "size": 9},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_above(end, value) for end, value in zip(ends, values, strict=True)],
                "arrayminus": [_below(end, value) for end, value in zip(ends, values, strict=True)],
                "thickness": 1.5,
                "width": 5,
            },
            customdata=[
                [units.duration(value), units.duration_interval(end)]
                for value, end in zip(values, ends, strict=True)
            ],
            hovertemplate="%{customdata[0]} (95 %: %{customdata[1]})",
        )
    figure.update_layout(margin={**MARGIN, "b": 32})
    figure.update_xaxes(
        tickvals=list(range(len(TAIL))),
        ticktext=list(TAIL.values()),
        range=[-0.4, len(TAIL) - 0.6],
        zeroline=False,
        showgrid=False,
    )
    figure.update_yaxes(time_axis(min(seen, default=0.01), max(seen, default=1.0), title))
    return figure


def _above(ends: Sequence[float | None] | None, value: float) -> float:
    """An open end leaves the figure: nine values high is off every axis that ends at the data."""
    if ends is None:
        return 0.0
    return 9 * value if ends[1] is None else ends[1] - value


def _below(ends: Sequence[float | None] | None, value: float) -> float:
    if ends is None:
        return 0.0
    return 0.999 * value if ends[0] is None else value - ends[0]  # on a log axis 0 has no place


def latency_ecdf(
    ecdfs: Mapping[str, Ecdf], look: Mapping[str, Look], title: str, slo_s: float | None
) -> go.Figure:
    """Share of samples at most this slow, on an axis of nines, with the class's SLO as a line."""
    figure = go.Figure(layout=base_layout())
    shown = {engine: each for engine, each in ecdfs.items() if each.num_samples}
    values = [each.value for each in shown.values()]
    for engine, each in shown.items():
        place = each.ratio - 0.5 / each.num_samples
        figure.add_scatter(
            name=engine,
            x=each.value,
            y=nines(place),
            mode="lines",
            line={
                "color": look[engine].colour,
                "dash": look[engine].dash,
                "width": 2,
                "shape": "hv",
            },
            customdata=[
                [f"{100 * ratio:.4g}", units.duration(value)]
                for ratio, value in zip(place, each.value, strict=True)
            ],
            hovertemplate="%{customdata[0]} % within %{customdata[1]}",
        )
    low = min((float(each[0]) for each in values), default=0.01)
    high = max((float(each[-1]) for each in values), default=1.0)
    if slo_s is not None:
        low, high = min(low, slo_s), max(high, slo_s)
        figure.add_vline(x=slo_s, line={"dash": "dash", "width": 2, "color": "#888"})
        figure.add_annotation(
            x=log10(slo_s),  # a log axis takes an annotation's place as exponent
            y=0.02,
            yref="y domain",
            text=f"SLO {units.duration(slo_s)}",
            textangle=-90,
            showarrow=False,
            xanchor="right",
            yanchor="bottom",
        )
    most = max((each.num_samples for each in shown.values()), default=100)
    figure.update_xaxes(time_axis(low, high, title, num_ticks=4))
    figure.update_yaxes(nines_axis(1 - 0.5 / most, "share at most this slow"))
    return figure


def attainment_by_class(
    ratios: Mapping[str, Mapping[str, float | None]], look: Mapping[str, Look], title: str
) -> go.Figure:
    """Grouped bars: engine ▸ {class: ratio}, 0–1."""
    figure = go.Figure(layout=base_layout(barmode="group", bargap=0.3, bargroupgap=0.08))
    for engine, by_class in ratios.items():
        figure.add_bar(
            name=engine,
            x=list(by_class),
            y=list(by_class.values()),
            marker={"color": look[engine].colour},
            text=[units.percent(ratio) for ratio in by_class.values()],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{x}: %{text}",
        )
    figure.update_xaxes(showgrid=False)
    figure.update_layout(margin={**MARGIN, "b": 32})
    figure.update_yaxes(
        title={"text": title}, range=[0, 1.08], tickformat=".0%", dtick=0.25, zeroline=False
    )
    return figure


def latency_by_turn(
    by_turn: Mapping[str, Mapping[str, Json]], look: Mapping[str, Look], title: str
) -> go.Figure:
    """Median and P90 over the turn number: whether a longer history makes a turn slower."""
    figure = go.Figure(layout=base_layout(hovermode="x unified"))
    seen: list[float] = []
    for engine, summaries in by_turn.items():
        for name, width in (("p50", 2.5), ("p90", 1.2)):
            points = [
                (int(turn) + 1, each[name], each["count"])
                for turn, each in summaries.items()
                if each[name] is not None
            ]
            seen += [value for _, value, _ in points]
            figure.add_scatter(
                name=f"{engine} {TAIL[name]}",
                x=[turn for turn, _, _ in points],
                y=[value for _, value, _ in points],
                mode="lines+markers",
                line={"color": look[engine].colour, "width": width, "dash": look[engine].dash},
                marker={"symbol": look[engine].symbol, "size": 4 + width},
                customdata=[
                    [units.duration(value), units.count(number)] for _, value, number in points
                ],
                hovertemplate="%{customdata[0]} (%{customdata[1]} turns)",
            )
    figure.update_xaxes(title={"text": "turn of the conversation"}, dtick=_whole_step(by_turn))
    figure.update_yaxes(time_axis(min(seen, default=0.01), max(seen, default=1.0), title))
    return figure


def _whole_step(by_turn: Mapping[str, Mapping[str, Json]]) -> int:
    longest = max((int(turn) + 1 for each in by_turn.values() for turn in each), default=1)
    return max(1, longest // 10)


def kv_occupancy(
    at: Floats, device_ratio: Floats, host_ratio: Floats, preemptions: Floats, look: Look
) -> go.Figure:
    """Used share of the two KV pools (left), preemptions per stretch of time (right)."""
    most = max(1.0, float(preemptions.max(initial=0.0)))
    layout = base_layout(
        hovermode="x unified",
        margin={"l": 64, "r": 56, "t": 16, "b": 52},
        yaxis2={
            "title": {"text": "preemptions"},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "zeroline": False,
            "rangemode": "tozero",
            "range": [0, 2.5 * most],
            "tickmode": "linear",
            "dtick": ceil(most / 3),
        },
    )
    figure = go.Figure(layout=layout)
    figure.add_bar(
        name="preemptions",
        x=at,
        y=preemptions,
        yaxis="y2",
        marker={"color": FAILED, "opacity": 0.7, "line": {"width": 0}},
        hovertemplate="%{y}",
    )
    for name, ratio, dash in (("device", device_ratio, "solid"), ("host", host_ratio, "dot")):
        figure.add_scatter(
            name=f"{name} KV",
            x=at,
            y=ratio,
            mode="lines",
            connectgaps=True,  # between two steps nothing changes
            line={"color": look.colour, "dash": dash, "width": 2, "shape": "hv"},
            hovertemplate="%{y:.1%}",
        )
    figure.update_layout(bargap=0)
    figure.update_xaxes(title={"text": "seconds after the start"}, zeroline=False)
    figure.update_layout(
        yaxis={
            "title": {"text": "KV blocks in use"},
            "range": [0, 1.05],
            "tickformat": ".0%",
            "zeroline": False,
        }
    )
    return figure


def turn_timeline(
    lanes: Sequence[Json],
    failures: Sequence[Json],
    num_lanes: int,
    gap_range_s: tuple[float, float],
) -> go.Figure:
    """Every turn as a bar in its conversation's lane: grey while it waits for its first token,
    then coloured by the longest gap in its stream. A stall of the engine shows as a column.

    `lanes`: {lane, scheduled_at, first_token_at, last_token_at, longest_gap_s, label} each;
    `gap_range_s` is the same for all engines, so that their colours can be compared.
    """
    figure = go.Figure(
        layout=base_layout(
            barmode="overlay",
            bargap=0.25,
            height=max(260, min(580, 90 + 9 * num_lanes)),
            margin={"l": 64, "r": 8, "t": 16, "b": 52},
        )
    )
    labels = [turn["label"] for turn in lanes]
    figure.add_bar(
        name="waiting for the first token",
        orientation="h",
        y=[turn["lane"] for turn in lanes],
        base=[turn["scheduled_at"] for turn in lanes],
        x=[turn["first_token_at"] - turn["scheduled_at"] for turn in lanes],
        marker={"color": WAITING, "line": {"width": 0}},
        text=labels,
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
    )
    low, high = floor(log10(gap_range_s[0])), ceil(log10(gap_range_s[1]))
    high = max(high, low + 1)
    figure.add_bar(
        name="streaming",
        orientation="h",
        y=[turn["lane"] for turn in lanes],
        base=[turn["first_token_at"] for turn in lanes],
        x=[turn["last_token_at"] - turn["first_token_at"] for turn in lanes],
        marker={
            "color": _gap_colours([turn["longest_gap_s"] for turn in lanes], low, high),
            "line": {"width": 0},
        },
        text=labels,
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    figure.add_trace(_gap_scale(low, high))
    if failures:
        figure.add_scatter(
            name="failed",
            mode="markers",
            x=[turn["at"] for turn in failures],
            y=[turn["lane"] for turn in failures],
            marker={"symbol": "x", "size": 9, "color": FAILED},
            text=[turn["label"] for turn in failures],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_xaxes(title={"text": "seconds after the start"}, zeroline=False)
    figure.update_yaxes(
        title={"text": "conversations, by start"},
        autorange="reversed",
        showticklabels=False,
        showgrid=False,
        zeroline=False,
    )
    return figure


def _gap_colours(gaps: Sequence[float], low: int, high: int) -> list[str]:
    """Between 10**low and 10**high seconds, in a hundred shades."""
    places = [(log10(max(gap, 10.0**low)) - low) / (high - low) for gap in gaps]
    shades: list[str] = sample_colorscale(STALL_SCALE, [round(place, 2) for place in places])
    return shades


def _gap_scale(low: int, high: int) -> go.Scatter:
    """Nothing but the colour bar that explains `_gap_colours`."""
    ticks = list(range(low, high + 1))
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={
            "color": [low],
            "cmin": low,
            "cmax": high,
            "colorscale": STALL_SCALE,
            "colorbar": {
                "title": {"text": "longest gap", "side": "right"},
                "tickvals": ticks,
                "ticktext": [units.duration(10.0**tick) for tick in ticks],
                "thickness": 12,
                "outlinewidth": 0,
            },
        },
    )
