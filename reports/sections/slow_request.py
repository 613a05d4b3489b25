"""One slow request, moment by moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from reports.drawing.axes import LEGEND, base_layout, folded
from reports.drawing.palette import STATE_COLOURS
from reports.sections.engine_records import EngineRecords, column, reading
from reports.sections.latency_shares import NAME_WIDTH
from reports.sections.section import Figure, RunFacts, RunSection, Section
from reports.words import units
from suite.plurals import several
from suite.statistics.quantiles import PERCENTILES, quantile_rank, samples_needed

MAX_SPANS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowRequest:
    """Holds one request's life: (state, seconds after its arrival from, to)."""

    conversation_id: str  # of an engine that was not told, the request's own
    latency_s: float
    is_p99: bool  # else the slowest: too few for a P99
    num_requests: int
    spans: tuple[tuple[str, float, float], ...]


def slow_request(requests: Sequence[pa.Table]) -> SlowRequest | None:
    """Returns the request at P99 of latency; with fewer than a P99 needs, the slowest of them."""
    finished = [table.filter(pc.not_equal(table["finish_reason"], "abort")) for table in requests]
    finished = [table for table in finished if len(table)]
    if not finished:
        return None
    latency = np.concatenate(
        [column(table, "finished_at") - column(table, "arrived_at") for table in finished]
    )
    count, p99 = len(latency), PERCENTILES["p99"]
    is_p99 = count >= samples_needed(p99)
    place = int(np.argsort(latency, kind="stable")[quantile_rank(count, p99) - 1 if is_p99 else -1])
    table_of = np.repeat(np.arange(len(finished)), [len(table) for table in finished])
    row = place - int(np.searchsorted(table_of, table_of[place]))
    record = finished[table_of[place]].slice(row, 1).to_pylist()[0]
    return SlowRequest(
        conversation_id=str(record["conversation_id"] or record["request_id"]),
        latency_s=float(latency[place]),
        is_p99=is_p99,
        num_requests=count,
        spans=_spans(record["spans"], record["arrived_at"]),
    )


def _spans(
    spans: Sequence[Mapping[str, object]], arrived_at: float
) -> tuple[tuple[str, float, float], ...]:
    """Returns the spans with neighbours of one state joined; of very many, the longest."""
    joined: list[tuple[str, float, float]] = []
    for span in spans:
        state, began_at, ended_at = span["state"], span["began_at"], span["ended_at"]
        assert isinstance(began_at, float) and isinstance(ended_at, float), span
        if joined and joined[-1][0] == state:
            joined[-1] = (str(state), joined[-1][1], ended_at - arrived_at)
        else:
            joined.append((str(state), began_at - arrived_at, ended_at - arrived_at))
    longest = sorted(joined, key=lambda span: span[1] - span[2])[:MAX_SPANS]
    return tuple(sorted(longest, key=lambda span: span[1]))


def slow_requests_figure(slow: Mapping[str, SlowRequest]) -> go.Figure:
    """Draws one bar an engine: the states of one slow request from its arrival on, in their
    order."""
    figure = go.Figure(
        layout=base_layout(
            barmode="overlay",
            bargap=0.35,
            height=150 + 46 * len(slow),
            showlegend=True,  # of one state too: its colour has to be named
            legend={**LEGEND, "traceorder": "normal"},
        )
    )
    for state, colour in STATE_COLOURS.items():
        spans = [
            (engine, began_s, ended_s)
            for engine, each in slow.items()
            for name, began_s, ended_s in each.spans
            if name == state
        ]
        figure.add_bar(
            name=state.replace("_", " "),
            orientation="h",
            y=[folded(engine, NAME_WIDTH) for engine, _, _ in spans],
            base=[began_s for _, began_s, _ in spans],
            x=[ended_s - began_s for _, began_s, ended_s in spans],
            marker={"color": colour, "line": {"width": 0}},
            customdata=[units.duration(ended_s - began_s) for _, began_s, ended_s in spans],
            hovertemplate="%{y}: %{customdata}",
        )
    last_s = max((ended_s for each in slow.values() for _, _, ended_s in each.spans), default=1.0)
    figure.update_xaxes(
        title={"text": "seconds after its arrival"}, range=[0, 1.01 * last_s], zeroline=False
    )
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=[folded(engine, NAME_WIDTH) for engine in slow],
        autorange="reversed",
        showgrid=False,
        automargin=True,
    )
    return figure


def _read(records: EngineRecords) -> SlowRequest | None:
    with reading("requests"):
        return slow_request(
            [each.requests for _, each in records.logs if each.requests is not None]
        )


def _show(_: RunFacts, views: Mapping[str, SlowRequest]) -> list[Section]:
    figure = Figure(
        figure_id="slow-request",
        title="From its arrival to its last token",
        note=" ".join(_note(name, each) for name, each in views.items()),
        figure=slow_requests_figure(views),
    )
    section = Section(
        title="A slow request, moment by moment",
        term="latency_shares",
        how_to_read="One bar an engine, the request at its P99 latency from left to right, in the "
        "colours of the figure above: long stretches that are not computing are what made it slow. "
        "Drag to zoom.",
        figures=(figure,) if views else (),
    )
    return [section]


def _note(name: str, slow: SlowRequest) -> str:
    requests = several(slow.num_requests, "request")
    rank = "P99 of" if slow.is_p99 else "the slowest (a P99 needs 100) of"
    return (
        f"{name}: {rank} {requests}, {units.duration(slow.latency_s)}, of {slow.conversation_id}."
    )


SLOW_REQUEST = RunSection(read=_read, show=_show)
