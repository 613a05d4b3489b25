"""An engine's logs on the run's clock, and what is computed from them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.arrow_log import ArrowLog, schema_of
from engines.core.device import Direction
from engines.core.request import FinishReason, Request
from engines.core.request_log import RequestRecord, Span, State, record_of
from engines.core.sampling_params import SamplingParams
from engines.core.transfer_log import TransferRecord, Waited
from suite.measuring.context_switch import context_switch, covered_s
from suite.measuring.latency_shares import STATES, latency_shares
from suite.records.engine_logs import EngineLogs, finish_engine_logs, read_engine_logs


def request(
    *spent: tuple[State, float],
    arrived_at: float = 100.0,
    reason: FinishReason = FinishReason.LENGTH,
) -> RequestRecord:
    at, spans = arrived_at, []
    for state, lasted_s in spent:
        spans.append(Span(state=state, began_at=at, ended_at=at + lasted_s))
        at += lasted_s
    asked = Request(
        request_id="r",
        prompt_token_ids=[1],
        sampling=SamplingParams(max_tokens=1),
        arrived_at=arrived_at,
        finish_reason=reason,
    )
    return record_of(asked, tuple(spans), first_token_at=None, finished_at=at)


def table(*records: RequestRecord) -> pa.Table:
    rows = [asdict(each) for each in records]
    return pa.Table.from_pylist(rows, schema=schema_of(RequestRecord))


def test_every_instant_becomes_relative_to_the_start_also_inside_of_lists(tmp_path: Path) -> None:
    records = [request((State.QUEUED, 1.0), (State.COMPUTING, 2.0)), request(arrived_at=101.0)]
    with ArrowLog(tmp_path / "requests.arrows", schema_of(RequestRecord), rows_per_batch=1) as log:
        for each in records:
            log.append(asdict(each))
    finish_engine_logs(tmp_path, 100.0)
    logs = read_engine_logs(tmp_path)
    assert (logs.steps, logs.transfers) == (None, None)
    assert logs.requests is not None
    assert logs.requests["arrived_at"].to_pylist() == [0.0, 1.0]
    assert logs.requests["first_token_at"].to_pylist() == [None, None]
    assert logs.requests["queued_s"].to_pylist() == [1.0, 0.0]  # a duration stays
    assert logs.requests["spans"].to_pylist() == [
        [
            {"state": "queued", "began_at": 0.0, "ended_at": 1.0},
            {"state": "computing", "began_at": 1.0, "ended_at": 3.0},
        ],
        [],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["requests.parquet"]


def test_without_a_start_or_a_readable_byte_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "steps.arrows").write_bytes(b"")
    finish_engine_logs(tmp_path, 100.0)
    ArrowLog(tmp_path / "requests.arrows", schema_of(RequestRecord)).close()
    finish_engine_logs(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_the_states_of_the_embedded_engine_are_those_that_are_summed() -> None:
    assert tuple(State) == STATES


def test_shares_weigh_by_latency_and_leave_aborted_requests_out() -> None:
    shares, why = latency_shares(
        [
            table(request((State.QUEUED, 1.0), (State.COMPUTING, 1.0))),
            table(
                request((State.PREEMPTED, 4.0), (State.COMPUTING, 2.0)),
                request((State.HELD, 50.0), reason=FinishReason.ABORT),
            ),
        ]
    )
    assert shares["latency_shares"] == {
        "queued_ratio": 1 / 8,
        "preempted_ratio": 4 / 8,
        "swap_wait_ratio": 0.0,
        "held_ratio": 0.0,
        "stalled_ratio": 0.0,
        "computing_ratio": 3 / 8,
    }
    assert shares["latency_shares_p99"] is None
    assert why == {"latency_shares_p99": "needs at least 100 finished requests, has 2"}


def test_the_slowest_hundredth_is_told_apart_from_a_hundred_requests_on() -> None:
    quick = [request((State.COMPUTING, 1.0 + i / 1000)) for i in range(198)]
    slow = [request((State.STALLED, 3.0), (State.COMPUTING, 1.0)) for _ in range(2)]
    shares, why = latency_shares([table(*slow, *quick)])
    assert why == {}
    tail = shares["latency_shares_p99"]
    assert tail is not None
    assert (tail["stalled_ratio"], tail["computing_ratio"]) == (0.75, 0.25)
    _, why = latency_shares([table(*quick[:99])])
    assert list(why) == ["latency_shares_p99"]


def test_without_requests_there_is_a_reason_and_no_share() -> None:
    shares, why = latency_shares([])
    assert set(shares.values()) == {None}
    assert set(why) == set(shares)


def transfer(
    direction: Direction, copying_at: float, copied_at: float, size: int
) -> TransferRecord:
    return TransferRecord(
        direction=direction,
        request_id="r",
        conversation_id=None,
        began_at=0.0,
        copying_at=copying_at,
        copied_at=copied_at,
        landed_at=copied_at,
        dispatch_s=0.0,
        waited=Waited.NO,
        waited_s=0.0,
        num_blocks=1,
        num_copy_runs=1,
        num_copies=1,
        num_bytes=size,
    )


def test_bandwidth_counts_time_with_a_transfer_under_way_once() -> None:
    rows = [
        transfer(Direction.SWAP_OUT, 1.0, 3.0, 600),
        transfer(Direction.SWAP_OUT, 2.0, 4.0, 300),
        transfer(Direction.SWAP_OUT, 9.0, 10.0, 100),
    ]
    schema = schema_of(TransferRecord)
    moved = pa.Table.from_pylist([asdict(each) for each in rows], schema=schema)
    found = context_switch([EngineLogs(steps=None, requests=None, transfers=moved)])
    assert found["swap_out_bytes_per_s"] == 1000 / 4
    assert found["swap_in_bytes_per_s"] is None
    assert found["unavailable"]["swap_in_bytes_per_s"] == "no swap-in was logged"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=20))
def test_the_covered_time_is_that_of_the_union(intervals: list[tuple[int, int]]) -> None:
    union = {
        second for began_at, length in intervals for second in range(began_at, began_at + length)
    }
    began_at = np.array([began for began, _ in intervals], dtype=np.float64)
    lengths = np.array([length for _, length in intervals], dtype=np.float64)
    assert covered_s(began_at, began_at + lengths) == pytest.approx(len(union))
