"""A trial's engine logs as a Chrome trace, which Perfetto (ui.perfetto.dev) opens.

Process "engine": a lane of steps with the model's call inside each, one of swap-outs, one of
swap-ins, one of stalls, and counters. Process "requests": a lane each, with its states by name.
The trace format counts in microseconds; zero is the trial's start.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO, cast

import pyarrow as pa

from suite.records.engine_logs import EngineLogs, read_engine_logs
from suite.records.reading import read_run
from workloads.errors import InputError

Event = dict[str, Any]
ENGINE, REQUESTS = 1, 2  # process ids
STEPS, SWAP_OUT, SWAP_IN, STALLS = 1, 2, 3, 4  # thread ids in ENGINE
LANES = {STEPS: "compute", SWAP_OUT: "swap-out", SWAP_IN: "swap-in", STALLS: "stalls"}
_STEP_ARGS = (
    "num_decode_tokens",
    "num_prefill_tokens",
    "num_running",
    "num_waiting",
    "num_preemptions",
    "stall_s",
    "bookkeeping_s",
)
_TRANSFER_ARGS = (
    "request_id",
    "conversation_id",
    "num_blocks",
    "num_copy_runs",
    "num_copies",
    "num_bytes",
    "waited",
    "waited_s",
)
_REQUEST_ARGS = (
    "conversation_id",
    "priority",
    "num_prompt_tokens",
    "num_cached_tokens",
    "num_output_tokens",
    "num_preemptions",
    "finish_reason",
)


def write_trace(run: Path, *, engine: str | None, repeat: int, out: Path | None) -> Path:
    """Writes the trace of one trial, gzipped when the name ends in .gz; `engine` None: the first
    one that logged. Raises InputError, RunDirectoryError, PlanFileError."""
    directory, logs = _find_logs(run, engine, repeat)
    path = out or directory / "trace.json.gz"
    with _opened(path) as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
        for index, event in enumerate(trace_events(logs)):
            file.write((",\n" if index else "") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")
    return path


def _find_logs(run: Path, engine: str | None, repeat: int) -> tuple[Path, EngineLogs]:
    manifest, _ = read_run(run)
    if engine is not None and engine not in manifest.engines:
        raise InputError(
            f"{run}: engine {engine!r} is unknown; choose one of: {', '.join(manifest.engines)}"
        )
    for trial in manifest.trials:
        if trial.repeat == repeat and engine in (None, trial.engine):
            logs = read_engine_logs(trial.directory(run))
            if logs.steps is not None:
                return trial.directory(run), logs
    raise InputError(
        f"{run}: no step log of {engine or 'any engine'} in repeat {repeat}; engines "
        f"of other servers give none, and the run has {manifest.repeats} repeats"
    )


def _opened(path: Path) -> AbstractContextManager[TextIO]:
    try:
        if path.suffix == ".gz":
            return cast("TextIO", gzip.open(path, "wt", encoding="utf-8", compresslevel=5))
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: can not be written ({error.strerror}); use --out FILE") from None


def trace_events(logs: EngineLogs) -> Iterator[Event]:
    yield from _names(ENGINE, "engine", LANES)
    if logs.steps is not None:
        for step in _rows(logs.steps):
            yield from _step(step)
    if logs.transfers is not None:
        transfers = list(_rows(logs.transfers))
        yield from _copies(transfers, "swap_out", SWAP_OUT)
        yield from _copies(transfers, "swap_in", SWAP_IN)
        yield from _stalls(transfers)
    if logs.requests is not None:
        requests = sorted(_rows(logs.requests), key=lambda each: each["arrived_at"])
        lanes = {lane: each["request_id"] for lane, each in enumerate(requests, start=1)}
        yield from _names(REQUESTS, "requests", lanes)
        for lane, request in enumerate(requests, start=1):
            yield from _request(request, lane)


def _names(process: int, name: str, lanes: dict[int, str]) -> Iterator[Event]:
    def meta(what: str, lane: int, **args: object) -> Event:
        return {"ph": "M", "pid": process, "tid": lane, "name": what, "args": args}

    yield meta("process_name", 0, name=name)
    yield meta("process_sort_index", 0, sort_index=process)
    for lane, title in lanes.items():
        yield meta("thread_name", lane, name=title)
        yield meta("thread_sort_index", lane, sort_index=lane)


def _slice(
    lane: tuple[int, int], name: str, began_at: float, ended_at: float, args: Event
) -> Event:
    """Returns a slice whose ends are both rounded to nanoseconds, so that neighbours never overlap
    by rounding."""
    began_us, ended_us = round(began_at * 1e6, 3), round(ended_at * 1e6, 3)
    return {
        "ph": "X",
        "pid": lane[0],
        "tid": lane[1],
        "name": name,
        "ts": began_us,
        "dur": round(ended_us - began_us, 3),
        "args": args,
    }


def _step(step: Event) -> Iterator[Event]:
    lane = (ENGINE, STEPS)
    began_at, called_at = step["at"], step["execute_at"]
    args = {name: step[name] for name in _STEP_ARGS}
    yield _slice(lane, f"step {step['step']}", began_at, began_at + step["duration_s"], args)
    num_tokens = step["num_decode_tokens"] + step["num_prefill_tokens"]
    ended_at = called_at + step["execute_s"]
    yield _slice(lane, "model", called_at, ended_at, {"num_tokens": num_tokens})
    for name, values in (
        ("device blocks in use", {"blocks": step["num_used_device_blocks"]}),
        ("host blocks in use", {"blocks": step["num_used_host_blocks"]}),
        ("requests running", {"requests": step["num_running"]}),
        ("requests waiting", {"requests": step["num_waiting"] + step["num_swapped"]}),
    ):
        at = round(began_at * 1e6, 3)
        yield {"ph": "C", "pid": ENGINE, "tid": 0, "name": name, "ts": at, "args": values}


def _copies(transfers: Iterable[Event], direction: str, lane: int) -> Iterator[Event]:
    """Returns when a transfer was copied, from its turn in the queue on. A queue's copies follow
    each other: where two clocks' readings make them overlap, the later one is drawn from the
    earlier one's end."""
    mine = [each for each in transfers if each["direction"] == direction]
    drawn_to = float("-inf")
    for each in sorted(mine, key=lambda each: each["copied_at"]):
        args = {name: each[name] for name in _TRANSFER_ARGS}
        args["queued_s"] = each["copying_at"] - each["began_at"]
        args["seen_after_s"] = each["landed_at"] - each["copied_at"]
        began_at = max(each["copying_at"], drawn_to)
        drawn_to = max(each["copied_at"], began_at)
        yield _slice((ENGINE, lane), f"{each['num_blocks']} blocks", began_at, drawn_to, args)


def _stalls(transfers: Iterable[Event]) -> Iterator[Event]:
    """Returns when the engine stood idle: while it asked for a transfer, and while it waited for
    one."""
    found: list[tuple[float, float, str, Event]] = []
    for each in transfers:
        asked_at, landed_at = each["began_at"], each["landed_at"]
        found.append((asked_at, asked_at + each["dispatch_s"], "ask", each))
        waited = f"wait {each['waited'].replace('_', ' ')}"
        found.append((landed_at - each["waited_s"], landed_at, waited, each))
    for began_at, ended_at, name, each in sorted(found, key=lambda stall: stall[0]):
        if ended_at > began_at:
            args = {"request_id": each["request_id"], "direction": each["direction"]}
            yield _slice((ENGINE, STALLS), name, began_at, ended_at, args)


def _request(request: Event, lane: int) -> Iterator[Event]:
    args = {name: request[name] for name in _REQUEST_ARGS}
    for span in request["spans"]:
        began_at, ended_at = span["began_at"], span["ended_at"]
        yield _slice((REQUESTS, lane), span["state"], began_at, ended_at, args)
    if request["first_token_at"] is not None:
        at = round(request["first_token_at"] * 1e6, 3)
        yield {"ph": "i", "s": "t", "pid": REQUESTS, "tid": lane, "name": "first token", "ts": at}


def _rows(table: pa.Table) -> Iterator[Event]:
    """Yields the rows batch by batch: a long run's log is never in memory as Python objects as a
    whole."""
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()
