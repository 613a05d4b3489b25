"""The page's figures with their captions, made from a run's own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from reports import figures, share_bars, units
from reports.palette import Look
from reports.thinning import Ecdf, Floats, buckets, ecdf, evenly
from suite.engine_logs import read_engine_logs
from suite.latencies import longest_gap_per_turn, samples
from suite.run_directory import Manifest
from suite.turn_table import TurnTable, read_turns
from workloads.plan import Plan, UserClass

Json = Mapping[str, Any]
MAX_LANES = 120
MAX_STRETCHES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    figure_id: str
    title: str
    note: str  # what was left out or thinned; empty = nothing
    figure: go.Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Figures that are read in the same way, side by side where there is room."""

    title: str
    term: str  # key of the glossary
    how_to_read: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """What the figures need of a run, read once."""

    manifest: Manifest
    plan: Plan
    metrics: Json
    turns: Mapping[str, TurnTable]
    steps: Mapping[str, tuple[int, pa.Table]]  # engine ▸ (repeat, its step log)
    look: Mapping[str, Look]


def read_data(
    run: Path, manifest: Manifest, plan: Plan, metrics: Json, look: Mapping[str, Look]
) -> RunData:
    turns, steps = {}, {}
    for name in manifest.engines:
        parts = [part for part in manifest.parts if part.engine == name]
        turns[name] = read_turns([(part.repeat, part.directory(run)) for part in parts])
        for part in parts:
            log = read_engine_logs(part.directory(run)).steps
            if log is not None and len(log) and name not in steps:
                steps[name] = (part.repeat, log)
    return RunData(
        manifest=manifest, plan=plan, metrics=metrics, turns=turns, steps=steps, look=look
    )


def all_blocks(data: RunData) -> list[Block]:
    blocks = [
        _attainment(data),
        _tails(data),
        _ecdfs(data, "first_token_delay_s"),
        _ecdfs(data, "tbt_s"),
        _timeline(data),
        _latency_shares(data),
        _kv(data),
        _by_turn(data),
        _driver_lag(data),
    ]
    return [block for block in blocks if block.figures]


def _attainment(data: RunData) -> Block:
    shown = []
    for key, title in (
        ("users_within_slo_ratio", "Users within SLO"),
        ("turn_attainment_ratio", "Turns within SLO"),
    ):
        ratios = {
            name: {
                "all": engine["slo"][key],
                **{each: value[key] for each, value in engine["slo"]["by_class"].items()},
            }
            for name, engine in data.metrics["engines"].items()
            if engine["slo"]
        }
        if ratios:
            figure = figures.attainment_by_class(ratios, data.look, title)
            shown.append(Figure(figure_id=f"slo-{key}", title=title, note="", figure=figure))
    return Block(
        title="Who was served as promised",
        term="users_within_slo",
        how_to_read="Higher is better; each group of bars is one user class against its own SLO.",
        figures=tuple(shown),
    )


def _tails(data: RunData) -> Block:
    shown = []
    for key, title in (("ttft_s", "Time to first token"), ("tbt_s", "Time between tokens")):
        summaries = {
            name: engine[key]
            for name, engine in data.metrics["engines"].items()
            if engine[key]["count"]
        }
        if summaries:
            figure = figures.tail_percentiles(summaries, data.look, title.lower())
            note = _left_out(summaries)
            shown.append(Figure(figure_id=f"tail-{key}", title=title, note=note, figure=figure))
    return Block(
        title="How far the tails go",
        term="interval",
        how_to_read="Lower is better, and flat to the right means no stalls. Whiskers are 95 % "
        "intervals; where those of two engines overlap, the run does not tell them apart. One that "
        "leaves the figure is open: too few samples to bound it. Time is on a log scale.",
        figures=tuple(shown),
    )


def _left_out(summaries: Mapping[str, Json]) -> str:
    missing = [
        f"{name}: {', '.join(figures.TAIL[each] for each in summary['unavailable'])}"
        for name, summary in summaries.items()
        if summary["unavailable"]
    ]
    return f"Too few samples to show {'; '.join(missing)}." if missing else ""


def _ecdfs(data: RunData, key: str) -> Block:
    is_tbt = key == "tbt_s"
    shown = [_class_ecdf(data, key, each) for each in data.plan.user_classes]
    what = "token gaps" if is_tbt else "turns"
    judged = (
        "the SLO judges a percentile of each turn's gaps, this pools the gaps of all turns"
        if is_tbt
        else "the delay counts from the planned instant, as the SLO does"
    )
    return Block(
        title="Time between tokens, per class" if is_tbt else "First token, per class",
        term="tbt" if is_tbt else "first_token_delay",
        how_to_read=f"How many {what} were at most this slow: further left is better. Each step "
        "up the axis is one more nine, so the tail gets its room. Dashed: the class's SLO "
        f"({judged}).",
        figures=tuple(each for each in shown if each is not None),
    )


def _class_ecdf(data: RunData, key: str, user_class: UserClass) -> Figure | None:
    ecdfs = {
        name: ecdf(samples(turns, turns.user_class == user_class.name, key))
        for name, turns in data.turns.items()
    }
    if not any(each.num_samples for each in ecdfs.values()):
        return None
    slo_s = user_class.slo.tbt_s if key == "tbt_s" else user_class.slo.ttft_s
    title = "time between tokens" if key == "tbt_s" else "first-token delay"
    return Figure(
        figure_id=f"ecdf-{key}-{user_class.name}",
        title=user_class.name,
        note=_thinned(ecdfs.values()),
        figure=figures.latency_ecdf(ecdfs, data.look, title, slo_s),
    )


def _thinned(ecdfs: Any) -> str:
    thinned = [each for each in ecdfs if each.is_thinned]
    if not thinned:
        return ""
    most = max(each.num_samples for each in thinned)
    drawn = max(len(each.value) for each in thinned)
    return (
        f"Drawn from up to {units.count(most)} samples by at most {drawn} of them per line; the "
        "slowest 100 are all there."
    )


def _timeline(data: RunData) -> Block:
    gaps = np.concatenate([np.zeros(0), *(turns.gaps for turns in data.turns.values())])
    gaps = gaps[gaps > 0]
    longest_s = float(gaps.max()) if len(gaps) else 1.0
    typical_s = float(np.median(gaps)) if len(gaps) else 0.1
    shown = [
        _engine_timeline(name, turns, (typical_s, longest_s))
        for name, turns in data.turns.items()
        if len(turns)
    ]
    return Block(
        title="Every turn, over time",
        term="timeline",
        how_to_read="One lane per conversation. Grey: waiting for the first token. Coloured: "
        "streaming, brighter the longer its longest gap. Hover for the numbers, drag to zoom. "
        "When bright bars line up in a column, the whole engine stalled there.",
        figures=tuple(each for each in shown if each is not None),
    )


def _engine_timeline(
    name: str, turns: TurnTable, gap_range_s: tuple[float, float]
) -> Figure | None:
    repeat = int(turns.repeat.min())
    turns = turns.where(turns.repeat == repeat)
    order = np.argsort(turns.scheduled_at, kind="stable")
    conversations = list(dict.fromkeys(turns.conversation_id[order]))
    chosen = [conversations[index] for index in evenly(len(conversations), MAX_LANES)]
    lane_of = {conversation: lane for lane, conversation in enumerate(chosen)}
    gaps = longest_gap_per_turn(turns)
    bars, failures = [], []
    for row in range(len(turns)):
        lane = lane_of.get(turns.conversation_id[row])
        if lane is None:
            continue
        label = _turn_label(turns, gaps, row)
        if turns.num_chunks[row]:
            bars.append(_bar(turns, gaps, row, lane, label))
        if turns.has_failed[row]:
            ends = [turns.done_at[row], turns.last_token_at[row], turns.scheduled_at[row]]
            at = next(float(end) for end in ends if not np.isnan(end))
            failures.append({"lane": lane, "at": at, "label": label})
    if not bars and not failures:
        return None
    notes = [f"Repeat {repeat}."]
    if len(chosen) < len(conversations):
        notes.append(f"{len(chosen)} of {len(conversations):,} conversations, evenly spread.")
    return Figure(
        figure_id=f"timeline-{name}",
        title=name,
        note=" ".join(notes),
        figure=figures.turn_timeline(bars, failures, len(chosen), gap_range_s),
    )


def _bar(turns: TurnTable, gaps: Floats, row: int, lane: int, label: str) -> dict[str, Any]:
    return {
        "lane": lane,
        "scheduled_at": float(turns.scheduled_at[row]),
        "first_token_at": float(turns.first_token_at[row]),
        "last_token_at": float(turns.last_token_at[row]),
        "longest_gap_s": 0.0 if np.isnan(gaps[row]) else float(gaps[row]),
        "label": label,
    }


def _turn_label(turns: TurnTable, gaps: Floats, row: int) -> str:
    waited = turns.first_token_at[row] - turns.scheduled_at[row]
    lines = [
        f"<b>{turns.conversation_id[row]}</b>, turn {turns.turn[row] + 1} "
        f"({turns.user_class[row]}, user {turns.user_id[row]})",
        f"first token after {units.duration(None if np.isnan(waited) else float(waited))}",
        f"longest gap {units.duration(None if np.isnan(gaps[row]) else float(gaps[row]))}",
        f"{units.count(int(turns.num_output_tokens[row]))} tokens",
    ]
    return "<br>".join([*lines, "<b>failed</b>"] if turns.has_failed[row] else lines)


def _latency_shares(data: RunData) -> Block:
    shown = []
    for key, title in (
        ("latency_shares", "All requests"),
        ("latency_shares_p99", "The slowest 1 %"),
    ):
        switching = {
            name: engine["context_switch"] or {} for name, engine in data.metrics["engines"].items()
        }
        shares = {name: each[key] for name, each in switching.items() if each.get(key)}
        if shares:
            figure = share_bars.latency_shares(shares)
            note = " ".join(
                f"{name}: {each['unavailable'][key]}."
                for name, each in switching.items()
                if each and name not in shares
            )
            shown.append(Figure(figure_id=key, title=title, note=note, figure=figure))
    return Block(
        title="Where the time went",
        term="latency_shares",
        how_to_read="What the latency of the requests was spent on inside the engine. Only the "
        "last part of each bar is work; all before it is waiting, and what switching costs is "
        "preempted, swap wait and stalled. The parts of a bar add up to 100 %.",
        figures=tuple(shown),
    )


def _kv(data: RunData) -> Block:
    shown = tuple(
        _engine_kv(name, repeat, log, data.look[name]) for name, (repeat, log) in data.steps.items()
    )
    return Block(
        title="KV cache and preemptions over time",
        term="kv_occupancy",
        how_to_read="Lines: used share of the KV blocks on the device and on the host. Bars: "
        "preemptions. Preemptions begin when the device line reaches the top.",
        figures=shown,
    )


def _engine_kv(name: str, repeat: int, log: pa.Table, look: Look) -> Figure:
    column = {each: log[each].to_numpy().astype(np.float64) for each in log.column_names}
    stretches = buckets(column["at"], MAX_STRETCHES)
    note = f"Repeat {repeat}."
    if len(stretches.at) < len(log):
        note += (
            f" {len(log):,} steps in stretches of {units.duration(stretches.width_s)}: "
            "the highest occupancy and the sum of preemptions of each."
        )
    return Figure(
        figure_id=f"kv-{name}",
        title=name,
        note=note,
        figure=figures.kv_occupancy(
            stretches.at,
            stretches.largest(_share(column, "num_used_device_blocks", "num_device_blocks")),
            stretches.largest(_share(column, "num_used_host_blocks", "num_host_blocks")),
            stretches.total(column["num_preemptions"]),
            look,
        ),
    )


def _share(column: Mapping[str, Floats], used: str, pool: str) -> Floats:
    """0 where the engine has no such pool."""
    return np.divide(
        column[used], column[pool], out=np.zeros(len(column[used])), where=column[pool] > 0
    )


def _by_turn(data: RunData) -> Block:
    by_turn = {
        name: {turn: each["ttft_s"] for turn, each in engine["by_turn"].items()}
        for name, engine in data.metrics["engines"].items()
    }
    is_worth_it = any(len(each) > 1 for each in by_turn.values())
    figure = Figure(
        figure_id="ttft-by-turn",
        title="Time to first token",
        note="Turn numbers with too few samples for a percentile are left out.",
        figure=figures.latency_by_turn(by_turn, data.look, "time to first token"),
    )
    return Block(
        title="Later turns",
        term="ttft",
        how_to_read="A line that climbs means that a longer history makes the user wait longer; "
        "KV reuse keeps it flat. Thick: median, thin: P90.",
        figures=(figure,) if is_worth_it else (),
    )


def _driver_lag(data: RunData) -> Block:
    ecdfs: dict[str, Ecdf] = {}
    for name, turns in data.turns.items():
        lag = samples(turns, np.ones(len(turns), dtype=bool), "driver_lag_s")
        ecdfs[name] = ecdf(np.maximum(lag, 1e-6))
    if not any(each.num_samples for each in ecdfs.values()):
        return Block(title="", term="driver_lag", how_to_read="", figures=())
    note = " ".join(["Lags below 1 µs are drawn at 1 µs.", _thinned(ecdfs.values())]).strip()
    figure = figures.latency_ecdf(ecdfs, data.look, "sent after the planned instant", None)
    return Block(
        title="Can the driver be trusted",
        term="driver_lag",
        how_to_read="How late the driver itself was. It should end far left of every SLO.",
        figures=(Figure(figure_id="driver-lag", title="Driver lag", note=note, figure=figure),),
    )
