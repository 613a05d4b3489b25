"""What a terminal shows, also a narrow one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from reports.text.terminal import show_calibration, show_gates, show_plan, show_summary
from reports.words import units
from suite.driver.calibrate import Calibration
from suite.judging.metrics_file import measure
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    run = write_run(
        tmp_path_factory.mktemp("run"),
        {"fastswitch": FAST, "vllm-0.3": SLOW},
        gates=("tbt.p99 <= 1s", "ttft.p99 <= 1500ms", "fastswitch: ttft.p50 <= 1ms"),
        baseline="vllm-0.3",
    )
    return measure(run)


def shown(show, *values, width=80):
    text = io.StringIO()
    show(*values, Console(file=text, width=width))
    return text.getvalue()


def test_percentiles_stand_with_their_intervals_and_fit_into_a_terminal(metrics):
    text = shown(show_summary, metrics, Path("runs/x/report.html"), width=100)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert all(len(line) <= 100 for line in lines if line.startswith(("TTFT", "TBT", "worst")))
    ttft = metrics["engines"]["fastswitch"]["ttft_s"]
    low, high = ttft["interval"]["p50"]
    assert f"187 ms ({units.duration(low)} to {units.duration(high)})" in lines["TTFT P50"]
    low, high = metrics["engines"]["fastswitch"]["slo"]["interval"]["users_within_slo_ratio"]
    kept = f"82.5 % ({units.percent(low)} to {units.percent(high)})"
    assert kept in lines["users within SLO"]
    assert "66 of 80" in text
    fairness = metrics["engines"]["fastswitch"]["fairness"]
    gap, wait = (units.duration(fairness[f"longest_{each}_s"]) for each in ("gap", "wait"))
    assert f"{gap}, {wait}" in lines["longest gap, wait"]
    assert "82.5 %" in lines["were gaps not capped"]
    assert text.endswith("report: runs/x/report.html\n")


def test_gates_stand_one_a_line_with_the_failures_first(metrics):
    lines = shown(show_gates, metrics).splitlines()
    assert [line.split()[0] for line in lines] == ["FAIL", "FAIL", "INCONCLUSIVE", "PASS", "PASS"]
    assert lines[1].startswith("FAIL         fastswitch: ttft.p50 <= 1ms, got 187 ms (95 %: ")


def test_what_limits_the_numbers_comes_first(metrics):
    text = shown(show_summary, metrics, None)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["FAIL", "FAIL"]
    few = "TTFT: too few samples for P99.9 (needs at least 1,000 samples, has 484)"
    assert lines[2] == f"! fastswitch, vllm-0.3 {few}"  # of both engines, once
    assert "fastswitch kept more users than vllm-0.3 (" in text


def test_what_is_piped_does_not_wrap_at_eighty_columns(metrics, capsys):
    show_summary(metrics, None)
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("TTFT P50")]
    assert len(table) == 1
    assert table[0].count(" to ") == 2


def test_a_plan_is_shown_class_by_class():
    plan = make_plan()
    text = shown(show_plan, plan)
    assert f"60 conversations of 40 users, {plan.num_turns} turns" in text
    assert plan.digest[:12] in text
    assert [name in text for name in ("interactive", "standard", "batch", "200 ms")] == [True] * 4


def test_a_calibration_reads_in_microseconds():
    found = Calibration(
        num_streams=64,
        tokens_per_s=3200.0,
        num_tokens=16000,
        error_p50_s=4e-6,
        error_p99_s=15e-6,
        error_p999_s=45.1e-6,
        error_max_s=1.2e-3,
        lag_max_s=0.0001,
        coalesced_ratio=0.0,
        cpu_ratio=0.031,
        time_source="kernel",
    )
    text = shown(show_calibration, found)
    assert "64 streams, 3,200 tokens/s in all, 16,000 tokens stamped by: kernel" in text
    assert "4 µs  15 µs  45.1 µs  1.2 ms" in text
    assert "3.1 % of a core" in text
