"""The trace as Perfetto reads it: lanes, order and totals against the logs it was made from."""

from __future__ import annotations

import gzip
import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engines.arrow_log import schema_of
from engines.core.request_log import RequestRecord
from engines.core.step_log import StepRecord
from engines.core.transfer_log import TransferRecord
from reports.trace import trace_events, write_trace
from suite.records.engine_logs import EngineLogs, read_engine_logs
from tests.engines.core.bench import VLLM, Bench, core_settings, prompt_of
from tests.reports.synthetic_run import FAST, make_plan, write_run
from workloads.errors import InputError

Events = list[dict[str, Any]]


def table(record_type: type, rows: list[Any]) -> pa.Table:
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(record_type))


@pytest.fixture(scope="module")
def pressed() -> EngineLogs:
    """Eight requests of rising urgency on a device that holds three."""
    bench = Bench(core_settings(replace(VLLM, swap="adaptive", copy="merged")))
    for i in range(8):
        bench.submit(f"r{i}", prompt_of(i, 16), 8, priority=8 - i, conversation_id=f"c{i}")
        bench.step()
    bench.run()
    bench.device.now += 1
    bench.engine.poll()  # the last turn's swap-out has landed too
    return EngineLogs(
        steps=table(StepRecord, bench.rows),
        requests=table(RequestRecord, list(bench.requests.values())),
        transfers=table(TransferRecord, bench.transfers),
    )


def lanes(events: Events) -> dict[str, Events]:
    """Slices by the name of their lane."""
    names = {
        (each["pid"], each["tid"]): each["args"]["name"]
        for each in events
        if each["name"] == "thread_name"
    }
    found: dict[str, Events] = {name: [] for name in names.values()}
    for each in events:
        if each["ph"] == "X":
            found[names[each["pid"], each["tid"]]].append(each)
    return found


def seconds(events: Events) -> float:
    return sum(each["dur"] for each in events) / 1e6


def column(logs: pa.Table, name: str) -> list[Any]:
    return logs[name].to_pylist()


def test_every_lane_is_there_in_order_and_nothing_in_it_overlaps(pressed: EngineLogs) -> None:
    found = lanes(list(trace_events(pressed)))
    requests = sorted(pressed.requests.to_pylist(), key=lambda each: each["arrived_at"])
    names = [each["request_id"] for each in requests]
    assert list(found) == ["compute", "swap-out", "swap-in", "stalls", *names]
    for name, slices in found.items():
        assert slices, name
        drawn = [each for each in slices if each["name"] != "model"]
        for before, after in itertools.pairwise(drawn):
            assert before["ts"] + before["dur"] <= after["ts"] + 1e-3, name


def test_each_step_holds_its_call_of_the_model(pressed: EngineLogs) -> None:
    slices = lanes(list(trace_events(pressed)))["compute"]
    steps, calls = slices[0::2], slices[1::2]
    assert [each["name"] for each in steps] == [f"step {i}" for i in range(len(pressed.steps))]
    assert {each["name"] for each in calls} == {"model"}
    for step, call in zip(steps, calls, strict=True):
        assert step["ts"] <= call["ts"]
        assert call["ts"] + call["dur"] <= step["ts"] + step["dur"] + 1e-3
    assert seconds(steps) == pytest.approx(sum(column(pressed.steps, "duration_s")))
    assert seconds(calls) == pytest.approx(sum(column(pressed.steps, "execute_s")))
    num_tokens = sum(each["args"]["num_tokens"] for each in calls)
    assert num_tokens == sum(
        sum(column(pressed.steps, f"num_{kind}_tokens")) for kind in ("decode", "prefill")
    )


def test_transfers_and_stalls_have_the_totals_of_the_logs(pressed: EngineLogs) -> None:
    found = lanes(list(trace_events(pressed)))
    for lane, direction in (("swap-out", "swap_out"), ("swap-in", "swap_in")):
        moved = sum(each["args"]["num_blocks"] for each in found[lane])
        assert moved == sum(column(pressed.steps, f"num_{direction}_blocks")) > 0
    assert seconds(found["stalls"]) == pytest.approx(sum(column(pressed.steps, "stall_s")))


def test_a_requests_lane_shows_its_states_from_arrival_to_end(pressed: EngineLogs) -> None:
    found = lanes(list(trace_events(pressed)))
    for request in pressed.requests.to_pylist():
        slices = found[request["request_id"]]
        assert slices[0]["ts"] == pytest.approx(1e6 * request["arrived_at"], abs=1e-3)
        spent = sum(each["dur"] for each in slices if each["name"] == "preempted")
        assert spent / 1e6 == pytest.approx(request["preempted_s"])
        assert seconds(slices) == pytest.approx(request["finished_at"] - request["arrived_at"])
    assert any(each["name"] == "preempted" for name in found for each in found[name])


def test_counters_follow_the_step_log(pressed: EngineLogs) -> None:
    events = list(trace_events(pressed))
    used = [
        each["args"]["blocks"]
        for each in events
        if each["ph"] == "C" and each["name"] == "device blocks in use"
    ]
    assert used == column(pressed.steps, "num_used_device_blocks")
    counters = {each["name"] for each in events if each["ph"] == "C"}
    assert counters == {
        "device blocks in use",
        "host blocks in use",
        "requests running",
        "requests waiting",
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(
        tmp_path_factory.mktemp("run"),
        {"silent": replace(FAST, has_step_log=False), "logged": FAST},
        plan=make_plan(num_conversations=5),
        repeats=1,
    )


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_the_file_is_json_gzipped_when_its_name_says_so(
    run: Path, tmp_path: Path, name: str
) -> None:
    path = write_trace(run, engine="logged", repeat=1, out=tmp_path / name)
    data = path.read_bytes()
    assert data.startswith(b"\x1f\x8b") == name.endswith(".gz")
    loaded = json.loads(gzip.decompress(data) if name.endswith(".gz") else data)
    expected = list(trace_events(read_engine_logs(run / "logged" / "1")))
    assert loaded["traceEvents"] == expected


def test_by_default_it_is_the_first_engine_that_logged_beside_its_logs(run: Path) -> None:
    path = write_trace(run, engine=None, repeat=1, out=None)
    assert path == run / "logged" / "1" / "trace.json.gz"


@pytest.mark.parametrize(
    ("engine", "repeat", "out", "message"),
    [
        ("other", 1, None, "engine 'other' is unknown; choose one of: silent, logged"),
        ("silent", 1, None, "no step log of silent in repeat 1"),
        ("logged", 2, None, "no step log of logged in repeat 2; .* the run has 1 repeats"),
        ("logged", 1, Path("/nowhere/t.json"), "/nowhere/t.json: can not be written"),
    ],
)
def test_what_can_not_be_traced_is_said_in_one_line(
    run: Path, engine: str, repeat: int, out: Path | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_trace(run, engine=engine, repeat=repeat, out=out)
