"""KV pools, preemptions and swapping over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from reports.drawing.axes import base_layout, even_ticks
from reports.drawing.palette import FAILED, SWAP_IN, SWAP_OUT, Look
from reports.drawing.thinning import buckets, spread_over
from reports.sections.engine_records import EngineRecords, column, reading
from reports.sections.section import Figure, RunFacts, RunSection, Section
from reports.words import units
from suite.records.engine_logs import EngineLogs
from suite.statistics.arrays import Floats

MAX_STRETCHES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class KvView:
    """Holds one repeat in equal stretches of time; all arrays [num_stretches]."""

    repeat: int
    num_steps: int
    stretch_s: float
    at: Floats
    device_ratio: Floats
    host_ratio: Floats
    preemptions: Floats
    swap_out_bytes_per_s: Floats | None  # None without a transfer log
    swap_in_bytes_per_s: Floats | None


def kv_view(repeat: int, logs: EngineLogs) -> KvView:
    """Reads an engine's step log, and its transfer log if it has one."""
    log = logs.steps
    assert log is not None
    at = column(log, "at")
    stretches = buckets(at, MAX_STRETCHES)
    rates = {
        direction: None
        if logs.transfers is None
        else _bandwidth(logs.transfers, direction, stretches.edges) / stretches.width_s
        for direction in ("swap_out", "swap_in")
    }
    device = _share(log, "num_used_device_blocks", "num_device_blocks")
    host = _share(log, "num_used_host_blocks", "num_host_blocks")
    return KvView(
        repeat=repeat,
        num_steps=len(log),
        stretch_s=stretches.width_s,
        at=stretches.at,
        device_ratio=stretches.largest(device),
        host_ratio=stretches.largest(host),
        preemptions=stretches.total(column(log, "num_preemptions")),
        swap_out_bytes_per_s=rates["swap_out"],
        swap_in_bytes_per_s=rates["swap_in"],
    )


def _bandwidth(transfers: pa.Table, direction: str, edges: Floats) -> Floats:
    """Returns the bytes in each stretch, a transfer's spread evenly over the time it was being
    copied."""
    mine = transfers.filter(pc.equal(transfers["direction"], direction))
    columns = [column(mine, name) for name in ("copying_at", "copied_at", "num_bytes")]
    return spread_over(edges, *columns)


def _share(log: pa.Table, used: str, pool: str) -> Floats:
    """Returns how much of a pool was in use; 0 where the engine has no such pool."""
    size = column(log, pool)
    return np.divide(column(log, used), size, out=np.zeros(len(size)), where=size > 0)


def kv_over_time(view: KvView, look: Look) -> go.Figure:
    """Draws the used share of the two KV pools and preemptions; below, on the same time, the
    bandwidth of swapping where the engine logs its transfers: out upwards, in downwards."""
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
            figure.add_trace(_bandwidth_line(name, view.at, rates, colour, sign))
    return figure


def _bandwidth_line(
    name: str, at: Floats, bytes_per_s: Floats, colour: str, sign: int
) -> go.Scatter:
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
    """Returns range and ticks to both sides of 0, in MB/s without a sign."""
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


def _read(records: EngineRecords) -> KvView | None:
    for repeat, logs in records.logs:
        if logs.steps is not None and len(logs.steps):
            with reading("steps"):
                return kv_view(repeat, logs)
    return None


def _show(facts: RunFacts, views: Mapping[str, KvView]) -> list[Section]:
    section = Section(
        title="KV cache, preemptions and swapping over time",
        term="kv_occupancy",
        how_to_read="Lines: used share of the KV blocks on the device and on the host; red bars: "
        "preemptions, which begin when the device line reaches the top. Below: how fast KV was "
        "swapped, out upwards and in downwards.",
        figures=tuple(
            Figure(
                figure_id=f"kv-{name}",
                title=name,
                note=_note(view),
                figure=kv_over_time(view, facts.look[name]),
            )
            for name, view in views.items()
        ),
    )
    return [section]


def _note(view: KvView) -> str:
    note = f"Repeat {view.repeat}."
    if len(view.at) < view.num_steps:
        note += (
            f" {view.num_steps:,} steps in stretches of {units.duration(view.stretch_s)}: "
            "the highest occupancy, the sum of preemptions and the mean bandwidth of each."
        )
    return note


KV_OVER_TIME = RunSection(read=_read, show=_show)
