"""What the context-switch figures draw of an engine, from its own logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reports.drawing.thinning import buckets, spread_over
from suite.records.engine_logs import EngineLogs
from suite.statistics.arrays import Floats
from suite.statistics.quantiles import PERCENTILES, quantile_rank, samples_needed

MAX_STRETCHES = 200
MAX_SPANS = 400
COPY_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)  # blocks a copy: lower ends of the histogram's bars
View = TypeVar("View")


@dataclass(frozen=True, slots=True, kw_only=True)
class KvView:
    """Of one repeat, in equal stretches of time; all arrays [num_stretches]."""

    repeat: int
    num_steps: int
    stretch_s: float
    at: Floats
    device_ratio: Floats
    host_ratio: Floats
    preemptions: Floats
    swap_out_bytes_per_s: Floats | None  # None without a transfer log
    swap_in_bytes_per_s: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyView:
    """Over all repeats: share of the moved blocks by the blocks that went in one copy."""

    block_ratio: Floats  # [len(COPY_SIZES)]
    num_transfers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowRequest:
    """One request's life: (state, seconds after its arrival from, to)."""

    conversation_id: str  # of an engine that was not told, the request's own
    latency_s: float
    is_p99: bool  # else the slowest: too few for a P99
    num_requests: int
    spans: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchingView:
    kv: KvView | None
    copies: CopyView | None
    slow_request: SlowRequest | None
    unavailable: tuple[str, ...] = field(default=())  # logs that can not be drawn, one line each


def switching_view(logs: Sequence[tuple[int, EngineLogs]]) -> SwitchingView:
    """`logs`: (repeat, its logs). A log of an older version without a column that a figure needs
    costs that figure alone, and is named."""
    notes: list[str] = []
    steps = [(repeat, each) for repeat, each in logs if each.steps is not None and len(each.steps)]
    transfers = [each.transfers for _, each in logs if each.transfers is not None]
    requests = [each.requests for _, each in logs if each.requests is not None]
    return SwitchingView(
        kv=_tried(lambda: kv_view(*steps[0]), "steps", notes) if steps else None,
        copies=_tried(lambda: copy_view(transfers), "transfers", notes),
        slow_request=_tried(lambda: slow_request(requests), "requests", notes),
        unavailable=tuple(notes),
    )


def _tried(view: Callable[[], View], log: str, notes: list[str]) -> View | None:
    """pyarrow raises KeyError for a column that the file has not."""
    try:
        return view()
    except KeyError as missing:
        said = str(missing.args[0])  # pyarrow: a sentence with the name in quotes; a dict: the name
        column = said.split('"')[1] if '"' in said else said
        notes.append(
            f"{log}.parquet has no column {column}: it was written by another version; "
            "what is drawn of it is left out"
        )
        return None


def kv_view(repeat: int, logs: EngineLogs) -> KvView:
    log = logs.steps
    assert log is not None
    at = _floats(log, "at")
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
        preemptions=stretches.total(_floats(log, "num_preemptions")),
        swap_out_bytes_per_s=rates["swap_out"],
        swap_in_bytes_per_s=rates["swap_in"],
    )


def _bandwidth(transfers: pa.Table, direction: str, edges: Floats) -> Floats:
    """Bytes in each stretch, a transfer's spread evenly over the time it was being copied."""
    mine = transfers.filter(pc.equal(transfers["direction"], direction))
    columns = [_floats(mine, name) for name in ("copying_at", "copied_at", "num_bytes")]
    return spread_over(edges, *columns)


def copy_view(transfers: Sequence[pa.Table]) -> CopyView | None:
    empty = np.zeros(0)
    blocks = np.concatenate([empty, *(_floats(table, "num_blocks") for table in transfers)])
    runs = np.concatenate([empty, *(_floats(table, "num_copy_runs") for table in transfers)])
    blocks, runs = blocks[runs > 0], runs[runs > 0]
    if not blocks.sum():
        return None
    place = np.digitize(blocks / runs, COPY_SIZES) - 1
    moved = np.bincount(place, weights=blocks, minlength=len(COPY_SIZES))
    return CopyView(block_ratio=moved / blocks.sum(), num_transfers=len(blocks))


def slow_request(requests: Sequence[pa.Table]) -> SlowRequest | None:
    """The request at P99 of latency; with fewer than a P99 needs, the slowest of them."""
    finished = [table.filter(pc.not_equal(table["finish_reason"], "abort")) for table in requests]
    finished = [table for table in finished if len(table)]
    if not finished:
        return None
    latency = np.concatenate(
        [_floats(table, "finished_at") - _floats(table, "arrived_at") for table in finished]
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
    """Neighbours of one state joined; of very many, the longest are kept."""
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


def _floats(table: pa.Table, name: str) -> Floats:
    values: Floats = table[name].to_numpy().astype(np.float64)
    return values


def _share(log: pa.Table, used: str, pool: str) -> Floats:
    """0 where the engine has no such pool."""
    size = _floats(log, pool)
    return np.divide(_floats(log, used), size, out=np.zeros(len(size)), where=size > 0)
