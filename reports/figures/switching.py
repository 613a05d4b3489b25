"""What switching between users costs, drawn: KV pools and copies over time, copies by size."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, even_ticks
from reports.drawing.palette import FAILED, SWAP_IN, SWAP_OUT, Look
from reports.views.switching import COPY_SIZES, CopyView, KvView
from reports.words import units
from suite.statistics.arrays import Floats


def kv_over_time(view: KvView, look: Look) -> go.Figure:
    """Used share of the two KV pools and preemptions; below, on the same time, the bandwidth of
    swapping where the engine logs its transfers: out upwards, in downwards."""
    has_copies = view.swap_out_bytes_per_s is not None
    figure = go.Figure(layout=_kv_layout(view, has_copies))
    figure.add_bar(
        name="preemptions",
        x=view.at,
        y=view.preemptions,
        yaxis="y2",
        marker={"color": FAILED, "opacity": 0.7, "line": {"width": 0}},
        hovertemplate="%{y}",
    )
    for name, ratio, dash in (
        ("device", view.device_ratio, "solid"),
        ("host", view.host_ratio, "dot"),
    ):
        figure.add_scatter(
            name=f"{name} KV",
            x=view.at,
            y=ratio,
            mode="lines",
            connectgaps=True,  # between two steps nothing changes
            line={"color": look.colour, "dash": dash, "width": 2, "shape": "hv"},
            hovertemplate="%{y:.1%}",
        )
    for name, rates, colour, sign in (
        ("swap-out", view.swap_out_bytes_per_s, SWAP_OUT, 1),
        ("swap-in", view.swap_in_bytes_per_s, SWAP_IN, -1),
    ):
        if rates is not None:
            figure.add_trace(_bandwidth(name, view.at, rates, colour, sign))
    return figure


def _bandwidth(name: str, at: Floats, bytes_per_s: Floats, colour: str, sign: int) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=at,
        y=sign * bytes_per_s / 1e6,
        yaxis="y3",
        mode="lines",
        fill="tozeroy",
        line={"color": colour, "width": 1.2, "shape": "hvh"},
        customdata=[units.count(float(rate)) for rate in bytes_per_s / 1e6],
        hovertemplate="%{customdata} MB/s",
    )


def _kv_layout(view: KvView, has_copies: bool) -> go.Layout:
    most = max(1.0, float(view.preemptions.max(initial=0.0)))
    upper = [0.44, 1.0] if has_copies else [0.0, 1.0]
    axes: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "seconds after the start"},
            "zeroline": False,
            "anchor": "y3" if has_copies else "y",
        },
        "yaxis": {
            "title": {"text": "KV blocks in use"},
            "range": [0, 1.05],
            "tickformat": ".0%",
            "zeroline": False,
            "domain": upper,
        },
        "yaxis2": {
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
    }
    if has_copies:
        axes["yaxis3"] = {
            "title": {"text": "in · out, MB/s"},
            "domain": [0.0, 0.34],
            "zeroline": False,
            **_mirrored(view),
        }
    return base_layout(
        hovermode="x unified",
        bargap=0,
        height=440 if has_copies else 340,
        margin={"l": 64, "r": 56, "t": 16, "b": 52},
        **axes,
    )


def _mirrored(view: KvView) -> dict[str, Any]:
    """Range and ticks to both sides of 0, in MB/s without a sign."""
    rates = (view.swap_out_bytes_per_s, view.swap_in_bytes_per_s)
    out, back = (0.0 if each is None else each.max(initial=0.0) / 1e6 for each in rates)
    least = 1e-3 if out or back else 1.0  # nothing moved needs no axis of bytes
    top, bottom = max(1.05 * out, least), max(1.05 * back, least)
    ticks = even_ticks(-bottom, top)
    return {
        "range": [-bottom, top],
        "tickvals": ticks,
        "ticktext": [units.count(abs(tick)) for tick in ticks],
    }


def blocks_per_copy(views: Mapping[str, CopyView], look: Mapping[str, Look]) -> go.Figure:
    """Histogram: share of the moved blocks by how many went in one copy."""
    figure = go.Figure(layout=base_layout(barmode="group", bargap=0.2, height=300))
    ends = [*(each - 1 for each in COPY_SIZES[1:]), None]
    names = [
        f"{low}+" if high is None else str(low) if low == high else f"{low}–{high}"
        for low, high in zip(COPY_SIZES, ends, strict=True)
    ]
    for engine, view in views.items():
        figure.add_bar(
            name=engine,
            x=names,
            y=view.block_ratio,
            marker={"color": look[engine].colour},
            customdata=[units.percent(float(ratio)) for ratio in view.block_ratio],
            hovertemplate="%{x} blocks a copy: %{customdata} of the blocks",
        )
    figure.update_xaxes(title={"text": "blocks in one copy"}, type="category", showgrid=False)
    figure.update_yaxes(
        title={"text": "share of the moved blocks"},
        tickformat=".0%",
        range=[0, 1.02],
        dtick=0.25,
        zeroline=False,
    )
    return figure
