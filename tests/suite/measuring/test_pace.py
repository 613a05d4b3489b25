"""How well a run kept its pace, from its step log to gates and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reports.pages.validity import validity
from suite.judging.metrics_file import measure
from suite.measuring.pace import MAX_SHARE_OF_SLO, NOTE, tightest_slo_s
from suite.records.run_directory import Manifest
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run

GATES = (
    "fast: ttft.p50 <= 10s",
    "slow: ttft.p50 <= 10s",
    "fast: tbt.p50 <= 10 * baseline",
    "slo.users_within_slo_ratio >= 0",
    "counts.failed <= 1000000",
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    engines = {"fast": FAST, "slow": SLOW}
    return write_run(tmp_path / "run", engines, repeats=2, gates=GATES, baseline="slow")


def bound_s() -> float:
    return MAX_SHARE_OF_SLO * tightest_slo_s(make_plan().user_classes)


def keep_pace(run: Path, engine: str, repeat: int, *, missed_s: float, share: float) -> None:
    """So large a share of the steps ends so late, the others in time."""
    path = run / engine / str(repeat) / "steps.parquet"
    steps = pq.read_table(path).drop_columns(["pace_missed_s"])
    column = np.zeros(len(steps))
    column[: round(share * len(steps))] = missed_s
    pq.write_table(steps.append_column("pace_missed_s", pa.array(column)), path)


def outcomes(metrics: dict[str, Any], reason: str = "") -> dict[tuple[str, str], str]:
    return {
        (gate["gate"], gate["engine"]): gate["outcome"]
        for gate in metrics["gates"]
        if reason in gate["reason"]
    }


def test_the_tightest_promise_of_any_class_bounds_how_late_steps_may_be() -> None:
    classes = make_plan().user_classes
    assert tightest_slo_s(classes) == min(each.slo.tbt_s for each in classes)
    assert tightest_slo_s(classes) < min(each.slo.ttft_s for each in classes)


def test_an_engine_without_a_pace_has_none_to_miss(run: Path) -> None:
    assert measure(run)["engines"]["fast"]["pace"] is None


def test_a_run_from_before_the_column_is_read_as_one_without_a_pace(run: Path) -> None:
    for path in run.rglob("steps.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["pace_missed_s"]), path)
    assert measure(run)["engines"]["fast"]["pace"] is None


def test_a_few_late_steps_are_told_and_leave_the_run_valid(run: Path) -> None:
    keep_pace(run, "fast", 1, missed_s=100.0, share=0.005)
    keep_pace(run, "fast", 2, missed_s=bound_s(), share=0.5)
    metrics = measure(run)
    pace = metrics["engines"]["fast"]["pace"]
    assert pace["is_kept"]
    assert (pace["missed_p99_s"], pace["missed_max_s"]) == (bound_s(), 100.0)
    assert not any("pace" in each for each in metrics["engines"]["fast"]["warnings"])
    assert "pass" in outcomes(metrics).values()
    assert outcomes(metrics, NOTE) == {}


def test_one_repeat_that_missed_the_pace_leaves_timed_gates_open(run: Path) -> None:
    keep_pace(run, "fast", 1, missed_s=0.0, share=0.0)
    keep_pace(run, "fast", 2, missed_s=2 * bound_s(), share=0.03)
    metrics = measure(run)
    assert metrics["engines"]["fast"]["pace"]["is_kept"] is False
    [warning] = [each for each in metrics["engines"]["fast"]["warnings"] if "pace" in each]
    assert "1 % of the steps ended" in warning and "run again when it is quieter" in warning
    assert outcomes(metrics, NOTE) == {
        ("fast: ttft.p50 <= 10s", "fast"): "inconclusive",
        ("fast: tbt.p50 <= 10 * baseline", "fast"): "inconclusive",
        ("slo.users_within_slo_ratio >= 0", "fast"): "inconclusive",
    }
    assert outcomes(metrics)["slow: ttft.p50 <= 10s", "slow"] == "pass"
    assert outcomes(metrics)["counts.failed <= 1000000", "fast"] == "pass"
    said = validity(metrics, Manifest.read(run).trials)
    assert said.outcome == "fail" and "fast missed its pace" in said.text


def test_a_baseline_that_missed_the_pace_leaves_the_gates_against_it_open(run: Path) -> None:
    keep_pace(run, "slow", 1, missed_s=2 * bound_s(), share=0.03)
    found = outcomes(measure(run), NOTE)
    assert ("fast: tbt.p50 <= 10 * baseline", "fast") in found
    assert ("fast: ttft.p50 <= 10s", "fast") not in found
