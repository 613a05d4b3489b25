"""Turns that were sent late, weighed: what they could not have turned stands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.judging.catalogue.table import ROWS
from suite.judging.lateness import ANY, NOTE, allowing, allowing_factors, ratio_range
from suite.judging.metrics_file import measure
from suite.records.run_directory import Manifest
from suite.records.turn_records import TurnRecord, read_turns
from suite.statistics.quantiles import Interval
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run
from tests.turn_files import write_turns

LATE_S = 0.3
PLAN = make_plan(num_conversations=40)


def sent_late(record: TurnRecord) -> TurnRecord:
    assert record.sent_at is not None
    assert record.done_at is not None
    by_s = record.scheduled_at + LATE_S - record.sent_at
    return replace(
        record,
        sent_at=record.sent_at + by_s,
        token_at=tuple(at + by_s for at in record.token_at),
        done_at=record.done_at + by_s,
    )


def make_late(run: Path, engine: str, *, every: int = 10) -> Path:
    """Has every tenth turn of an engine sent late, and answered as much later."""
    manifest = Manifest.read(run)
    trials = []
    for trial in manifest.trials:
        if trial.engine == engine:
            path = trial.directory(run) / "turns.parquet"
            records = [
                sent_late(each) if number % every == 0 and each.token_at else each
                for number, each in enumerate(read_turns(path))
            ]
            write_turns(path, records, started_at_monotonic_s=1000.0)
            assert trial.driver is not None
            driver = trial.driver.model_copy(update={"is_late": True, "lag_max_s": LATE_S})
            trials.append(trial.model_copy(update={"driver": driver}))
        else:
            trials.append(trial)
    manifest.model_copy(update={"trials": trials}).write(run)
    return run


def judged(run: Path, *rules: str) -> list[tuple[str, str]]:
    path = run / "rules.yaml"
    path.write_text(json.dumps(list(rules)))
    found = CliRunner().invoke(app, ["gate", str(run), "--rules", str(path), "--format", "json"])
    return [(each["outcome"], each["reason"]) for each in json.loads(found.stdout)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    both = {"fast": FAST, "slow": SLOW}
    path = tmp_path_factory.mktemp("late") / "run"
    return make_late(write_run(path, both, plan=PLAN, repeats=3, baseline="slow"), "fast")


def fast(text: str) -> str:
    return f"fast: {text}"


def test_a_gate_far_from_its_bound_stands_and_one_nearby_is_open(run):
    numbers = measure(run)["engines"]["fast"]
    ends = numbers["ttft_s"]["interval"]["p50"], numbers["between_runs"]["ttft.p50"]["interval"]
    high = max(each[1] for each in ends)
    low, slower = numbers["lateness"]["ranges"]["ttft.p50"]
    assert low < numbers["ttft_s"]["p50"] < slower
    assert numbers["lateness"]["max_s"] == pytest.approx(LATE_S)
    assert judged(
        run,
        fast("ttft.p50 <= 5s"),
        fast(f"ttft.p50 <= {high + 0.01:.4f}s"),
        fast("e2e.p50 <= 1ms"),
        fast("slo.users_within_slo_ratio >= 0.01"),
        fast("counts.failed <= 0"),
        fast("driver_lag.max <= 1s"),
    ) == [
        ("pass", ""),
        ("inconclusive", NOTE),
        ("fail", ""),
        ("pass", ""),
        ("pass", ""),
        ("pass", ""),
    ]


def test_the_interval_that_is_shown_is_the_one_that_judged(run):
    path = run / "rules.yaml"
    path.write_text(json.dumps([fast("ttft.p50 <= 5s")]))
    arguments = ["gate", str(run), "--rules", str(path), "--format", "json"]
    [found] = json.loads(CliRunner().invoke(app, arguments).stdout)
    numbers = measure(run)["engines"]["fast"]
    alone, late = numbers["ttft_s"]["interval"]["p50"], numbers["lateness"]["ranges"]["ttft.p50"]
    assert found["interval"][1] >= alone[1] + late[1] - numbers["ttft_s"]["p50"] - 1e-12
    assert found["interval"][0] <= alone[0]


def test_an_index_that_lateness_could_move_either_way_is_open_and_no_other(run):
    ranges = measure(run)["engines"]["fast"]["lateness"]["ranges"]
    assert ranges["fairness.jain_service_index"] == [None, None]
    [(outcome, reason)] = judged(run, fast("fairness.jain_service_index >= 0.01"))
    assert (outcome, reason) == ("inconclusive", NOTE)
    assert "context_switch.num_copies" not in ranges
    assert "counts.failed" not in ranges


def test_ratios_and_comparisons_allow_for_the_lateness_of_either_side(run):
    assert judged(run, fast("ttft.p50 <= 50 * baseline")) == [("pass", "")]
    metrics = measure(run)
    entries = {each["metric"]: each for each in metrics["comparisons"]["fast"]}
    e2e, ttft = entries["e2e.p50"], entries["ttft.p50"]
    assert e2e["within_runs"][1] < e2e["interval"][1]
    assert ttft["verdict"] == "unclear"
    assert ttft["reason"] == NOTE
    assert ttft["within_runs"][1] < 1 < ttft["interval"][1]


def test_a_driver_in_its_bounds_needs_no_weighing(tmp_path):
    quiet = write_run(tmp_path / "run", {"fast": FAST}, plan=PLAN, repeats=1)
    assert measure(quiet)["engines"]["fast"]["lateness"] is None


def test_a_stored_baseline_remembers_its_lateness(run, tmp_path):
    stored, mine = tmp_path / "b.json", tmp_path / "mine"
    CliRunner().invoke(app, ["baseline", "update", str(run), "--out", str(stored)])
    write_run(mine, {"fast": FAST}, plan=PLAN, repeats=3)
    rules = tmp_path / "rules.yaml"
    rules.write_text("- e2e.p50 <= 1.05 * baseline\n- e2e.p50 <= 100 * baseline")
    arguments = ["gate", str(mine), "--baseline", f"{stored}:fast", "--rules", str(rules)]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).stdout)
    assert [each["outcome"] for each in found] == ["inconclusive", "pass"]
    assert json.loads(stored.read_text())["engines"]["slow"]["lateness"] is None


def test_ends_move_by_what_lateness_does_to_the_number():
    late, row = Interval(low=0.8, high=1.5), ROWS["ttft.p50"]
    found = allowing(Interval(low=0.9, high=1.2), 1.0, late, row)
    assert (found.low, found.high) == pytest.approx((0.7, 1.7))
    assert allowing(None, 1.0, late, row) == Interval(low=0.8, high=1.5)
    assert allowing(Interval(low=0.1, high=None), 1.0, late, row) == Interval(low=0.0, high=None)
    share = ROWS["slo.users_within_slo_ratio"]
    assert allowing(None, 1.0, Interval(low=0.5, high=1.3), share) == Interval(low=0.5, high=1.0)


def test_a_ratio_moves_by_what_lateness_does_to_both():
    late = Interval(low=0.5, high=2.0)
    assert ratio_range(1.0, None, 1.0, None) is None
    assert ratio_range(1.0, late, 1.0, None) == late
    assert ratio_range(1.0, late, 1.0, late) == Interval(low=0.25, high=4.0)
    assert ratio_range(0.0, late, 1.0, None) == ANY
    assert allowing_factors(Interval(low=0.9, high=None), 1.0, late) == Interval(
        low=0.45, high=None
    )


def test_a_late_engine_of_which_nothing_was_recorded_has_no_ranges_of_users(tmp_path):
    """Its numbers are missing with their reasons, and lateness adds none."""
    both = {"fast": FAST, "slow": SLOW}
    late = make_late(
        write_run(tmp_path / "run", both, plan=PLAN, repeats=1, baseline="slow"), "fast"
    )
    path = Manifest.read(late).trials[0].directory(late) / "turns.parquet"
    write_turns(path, [], started_at_monotonic_s=1000.0)
    found = measure(late)["engines"]["fast"]["lateness"]
    assert found["max_s"] == 0
    assert "ttft.p50" not in found["ranges"]
