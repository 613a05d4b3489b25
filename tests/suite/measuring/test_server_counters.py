"""Another engine's counters under the embedded engine's names; what is not told is not zero."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from engines.arrow_log import read_arrow_logs, schema_of
from engines.server_metrics import ServerMetrics, logged_server_metrics, parse_metrics
from suite.measuring.context_switch import context_switch, known_context_switch
from suite.records.engine_logs import EngineLogs

PAGE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 3.0
vllm:num_requests_running{engine="1"} 4.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:kv_cache_usage_perc{engine="1"} 0.7
# TYPE vllm:num_preemptions counter
vllm:num_preemptions_total{engine="0"} 12.0
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{le="+Inf"} 90
vllm:iteration_tokens_total_count 90
vllm:iteration_tokens_total_sum 999
"""


def told(**columns: list[int | None]) -> EngineLogs:
    num_rows = len(next(iter(columns.values())))
    names = [name for name in schema_of(ServerMetrics).names if name != "at"]
    rows: list[dict[str, Any]] = [
        {"at": float(i), **{name: columns.get(name, [None] * num_rows)[i] for name in names}}
        for i in range(num_rows)
    ]
    table = pa.Table.from_pylist(rows, schema=schema_of(ServerMetrics))
    return EngineLogs(steps=None, requests=None, transfers=None, server_metrics=table)


def test_a_page_is_read_and_several_engines_are_added_up() -> None:
    row = asdict(parse_metrics(PAGE, at=1.0, more={"num_priority_updates": 2}))
    known = {name: value for name, value in row.items() if value is not None}
    assert known == {
        "at": 1.0,
        "num_running": 7,
        "kv_usage_ratio": 0.6,
        "num_steps": 90,
        "num_preemptions": 12,
        "num_priority_updates": 2,
    }


def test_the_first_look_and_the_last_are_tried_again_where_the_page_can_not_be_had(
    tmp_path: Path,
) -> None:
    refusals = [TimeoutError, ValueError, None, TimeoutError, None]

    def read_page() -> str:
        refusal = refusals.pop(0)
        if refusal is not None:
            raise refusal
        return PAGE

    with logged_server_metrics(tmp_path, read_page, interval_s=3600.0):
        assert len(refusals) == 2
    assert len(read_arrow_logs([tmp_path / "server_metrics.arrows"])) == 2
    assert refusals == []


def test_what_was_counted_before_the_run_is_not_of_the_run() -> None:
    parts = [
        told(
            num_preemptions=[7, 9, 12], num_queried_tokens=[0, 5, 40], num_reused_tokens=[0, 1, 10]
        ),
        told(num_preemptions=[1, 1], num_queried_tokens=[60, 120], num_reused_tokens=[5, 20]),
    ]
    found = known_context_switch(parts)
    assert found is not None
    assert found["num_preemptions"] == 5
    assert found["reused_tokens_ratio"] == 25 / 100
    assert found["num_recomputed_tokens"] is found["stall_s"] is None
    reasons = found["unavailable"]
    assert isinstance(reasons, dict)
    assert reasons["stall_s"] == "the server does not tell it"
    assert "num_preemptions" not in reasons


def test_the_keys_are_those_of_an_engine_that_logs_its_steps() -> None:
    mine = known_context_switch([told(num_preemptions=[0, 1])])
    assert mine is not None
    assert mine.keys() == context_switch([]).keys()


def test_a_server_that_looked_for_no_prefix_has_reused_nothing_that_is_known() -> None:
    found = known_context_switch([told(num_queried_tokens=[0, 0], num_reused_tokens=[0, 0])])
    assert found is not None
    assert found["num_reused_tokens"] is found["reused_tokens_ratio"] is None
    reasons = found["unavailable"]
    assert isinstance(reasons, dict)
    assert reasons["reused_tokens_ratio"] == "the server looked for no prefix"


def test_a_server_that_tells_nothing_or_too_little_has_no_numbers() -> None:
    assert known_context_switch([told(num_running=[1, 2])]) is None
    assert known_context_switch([told(num_preemptions=[3])]) is None
    nothing = EngineLogs(steps=None, requests=None, transfers=None)
    assert known_context_switch([nothing]) is None
