"""Blocks on what switching between users costs: where time went, KV over time, copies."""

from __future__ import annotations

from reports.blocks.block import Block, Figure, RunData
from reports.figures import shares as draw_shares
from reports.figures import switching as draw
from reports.views.switching import KvView, SlowRequest
from reports.words import units
from suite.plurals import several


def latency_shares(data: RunData) -> Block:
    shown = []
    switching = {name: engine["context_switch"] or {} for name, engine in data.numbers.items()}
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
            figure = draw_shares.latency_shares(shares)
            shown.append(Figure(figure_id=key, title=title, note=note, figure=figure))
    return Block(
        title="Where the time went",
        term="latency_shares",
        how_to_read="What the latency of the requests was spent on inside the engine; only the "
        "last part of each bar is work, all before it is waiting. What switching costs is "
        "preempted, swap wait and stalled. The parts of a bar add up to 100\u00a0%.",
        figures=tuple(shown),
    )


def slow_requests(data: RunData) -> Block:
    slow = {
        name: each.switching.slow_request
        for name, each in data.engines.items()
        if each.switching.slow_request is not None
    }
    notes = " ".join(_slow_note(name, each) for name, each in slow.items())
    figure = Figure(
        figure_id="slow-request",
        title="From its arrival to its last token",
        note=notes,
        figure=draw_shares.slow_requests(slow),
    )
    return Block(
        title="A slow request, moment by moment",
        term="latency_shares",
        how_to_read="One bar an engine, the request at its P99 latency from left to right, in the "
        "colours of the figure above: long stretches that are not computing are what made it slow. "
        "Drag to zoom.",
        figures=(figure,) if slow else (),
    )


def _slow_note(name: str, slow: SlowRequest) -> str:
    requests = several(slow.num_requests, "request")
    rank = "P99 of" if slow.is_p99 else "the slowest (a P99 needs 100) of"
    return (
        f"{name}: {rank} {requests}, {units.duration(slow.latency_s)}, of {slow.conversation_id}."
    )


def kv(data: RunData) -> Block:
    return Block(
        title="KV cache, preemptions and swapping over time",
        term="kv_occupancy",
        how_to_read="Lines: used share of the KV blocks on the device and on the host; red bars: "
        "preemptions, which begin when the device line reaches the top. Below: how fast KV was "
        "swapped, out upwards and in downwards.",
        figures=tuple(
            Figure(
                figure_id=f"kv-{name}",
                title=name,
                note=_kv_note(each.switching.kv),
                figure=draw.kv_over_time(each.switching.kv, data.look[name]),
            )
            for name, each in data.engines.items()
            if each.switching.kv is not None
        ),
    )


def _kv_note(view: KvView) -> str:
    note = f"Repeat {view.repeat}."
    if len(view.at) < view.num_steps:
        note += (
            f" {view.num_steps:,} steps in stretches of {units.duration(view.stretch_s)}: "
            "the highest occupancy, the sum of preemptions and the mean bandwidth of each."
        )
    return note


def copies(data: RunData) -> Block:
    views = {
        name: each.switching.copies
        for name, each in data.engines.items()
        if each.switching.copies is not None
    }
    figure = Figure(
        figure_id="blocks-per-copy",
        title="Blocks per copy",
        note=" ".join(f"{name}: {each.num_transfers:,} transfers." for name, each in views.items()),
        figure=draw.blocks_per_copy(views, data.look),
    )
    return Block(
        title="How large the copies are",
        term="blocks_per_copy",
        how_to_read="Further right is better: many neighbouring blocks moved at once use the link, "
        "one at a time pays the cost of a call for each.",
        figures=(figure,) if views else (),
    )
