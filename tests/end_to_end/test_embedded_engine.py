"""The main job with the real embedded engine: file → engine → driver → records → report."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from suite.measuring.latency_shares import STATES
from suite.records.run_directory import Manifest
from suite.records.turn_records import read_turns
from tests.end_to_end.command import finish, left_behind, only_run, start, wait_for_turns, workload
from tests.processes import descendants

CLOCKS_APART_S = 0.001  # the kernel stamps in real time, the engine in monotonic time


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    spec = workload(gates=["slo.users_within_slo_ratio >= 0.5", "counts.failed <= 0"])
    code, out, err = finish(start(["run", "w.yaml"], directory, spec))
    run = only_run(directory)
    (trial,) = Manifest.read(run).trials
    assert trial.driver is not None
    # on a machine that stalls the driver is late, says so, and nothing it timed passes a gate
    assert code == (0 if trial.driver.is_valid else 3), out + err
    return run


def test_every_planned_turn_is_recorded_with_its_planned_length(finished_run: Path) -> None:
    turns = read_turns(finished_run / "small" / "1" / "turns.parquet")
    assert len(turns) == 12
    assert {turn.error for turn in turns} == {None}
    assert {sum(turn.tokens_per_chunk) for turn in turns} == {16}
    assert {turn.num_output_tokens for turn in turns} == {16}
    # the second turn brings the first one's prompt and its real answer along
    assert {(turn.turn, turn.num_prompt_tokens) for turn in turns} == {(0, 60), (1, 136)}


def test_kv_pressure_really_preempts_and_the_step_log_says_so(finished_run: Path) -> None:
    steps = pd.read_parquet(finished_run / "small" / "1" / "steps.parquet")
    metrics = json.loads((finished_run / "metrics.json").read_text())
    switching = metrics["engines"]["small"]["context_switch"]
    assert switching["num_preemptions"] == steps["num_preemptions"].sum() > 0
    assert switching["num_swap_out_blocks"] == steps["num_swap_out_blocks"].sum() > 0
    assert steps["num_used_device_blocks"].max() <= 16


def test_the_step_log_and_the_turns_share_one_clock(finished_run: Path) -> None:
    steps = pd.read_parquet(finished_run / "small" / "1" / "steps.parquet")
    turns = read_turns(finished_run / "small" / "1" / "turns.parquet")
    ends = steps["at"] + steps["duration_s"] - CLOCKS_APART_S
    assert min(turn.sent_at or 0.0 for turn in turns) < steps["at"].iloc[0]
    assert ends.iloc[0] < min(turn.token_at[0] for turn in turns)
    last_sent_at = max(turn.sent_at or 0.0 for turn in turns)
    assert last_sent_at < ends.iloc[-1] < max(turn.token_at[-1] for turn in turns)


def test_every_turn_is_one_request_of_the_engines_log_with_its_time_accounted_for(
    finished_run: Path,
) -> None:
    trial = finished_run / "small" / "1"
    requests = pd.read_parquet(trial / "requests.parquet")
    turns = read_turns(trial / "turns.parquet")
    assert len(requests) == len(turns) == 12
    assert sorted(requests["conversation_id"]) == sorted(turn.conversation_id for turn in turns)
    assert set(requests["finish_reason"]) == {"length"}
    spent = requests[[f"{state}_s" for state in STATES]].sum(axis=1)
    latency = requests["finished_at"] - requests["arrived_at"]
    assert spent.to_numpy() == pytest.approx(latency.to_numpy())
    assert requests["preempted_s"].sum() > 0
    in_turn = requests.sort_values(["conversation_id", "arrived_at"])
    asked = sorted(turns, key=lambda turn: (turn.conversation_id, turn.turn))
    for row, turn in zip(in_turn.itertuples(), asked, strict=True):
        # what the driver saw lies around what the engine says of itself
        assert turn.sent_at is not None
        assert turn.sent_at < row.arrived_at < row.first_token_at
        assert row.first_token_at < turn.token_at[0] + CLOCKS_APART_S
        assert row.spans[0]["began_at"] == row.arrived_at
        assert row.spans[-1]["ended_at"] == row.finished_at
    shares = json.loads((finished_run / "metrics.json").read_text())["engines"]["small"][
        "context_switch"
    ]["latency_shares"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["computing_ratio"] == pytest.approx(requests["computing_s"].sum() / latency.sum())


def test_the_transfers_add_up_to_the_step_log(finished_run: Path) -> None:
    trial = finished_run / "small" / "1"
    steps = pd.read_parquet(trial / "steps.parquet")
    transfers = pd.read_parquet(trial / "transfers.parquet")
    by_direction = transfers.groupby("direction")["num_blocks"].sum()
    # one that was still under way when the engine was told to stop has no row
    assert 0 < by_direction["swap_out"] <= steps["num_swap_out_blocks"].sum()
    assert by_direction["swap_in"] == steps["num_swap_in_blocks"].sum() > 0
    assert (transfers["copied_at"] <= transfers["landed_at"] + 1e-4).all()
    switching = json.loads((finished_run / "metrics.json").read_text())["engines"]["small"][
        "context_switch"
    ]
    assert switching["swap_in_bytes_per_s"] > 0


def test_a_trace_of_the_run_is_written_and_opens(finished_run: Path) -> None:
    code, out, err = finish(start(["trace", str(finished_run)], finished_run))
    assert code == 0, out + err
    path = finished_run / "small" / "1" / "trace.json.gz"
    assert str(path) in out
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    steps = pd.read_parquet(finished_run / "small" / "1" / "steps.parquet")
    assert sum(each["name"] == "model" for each in events) == len(steps)
    code, _, err = finish(start(["trace", str(finished_run), "--engine", "x"], finished_run))
    assert (code, "engine 'x' is unknown; choose one of: small" in err) == (2, True)


def test_the_run_directory_describes_itself(finished_run: Path) -> None:
    manifest = Manifest.read(finished_run)
    (trial,) = manifest.trials
    assert (trial.status, trial.counts.planned, trial.counts.recorded) == ("complete", 12, 12)
    assert manifest.engines["small"]["swap"] == "adaptive"  # presets are spelt out
    assert manifest.workload["driver"]["turn_timeout"] == "300s"  # defaults too
    assert (finished_run / "report.html").stat().st_size > 1_000_000  # plotly is inside
    assert left_behind(finished_run) == []


def test_the_same_numbers_come_out_when_a_run_is_measured_again(finished_run: Path) -> None:
    before = (finished_run / "metrics.json").read_text()
    code, out, err = finish(start(["report", str(finished_run)], finished_run))
    assert code == 0, out + err
    assert (finished_run / "metrics.json").read_text() == before


NUM_LONG = 2000


def a_long_one() -> dict[str, Any]:
    """Ends no sooner than eight minutes after something was measured, however fast it all is."""
    turns = {**workload()["conversations"], "count": NUM_LONG, "turns": 1, "prompt_tokens": 8}
    engine = {"kind": "fastswitch", "kv_tokens": 8192, "swap_tokens": 8192}
    arrivals = {"process": "constant", "rate": 4.0}
    return workload(conversations=turns, arrivals=arrivals, engines={"small": engine})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, number: signal.Signals) -> None:
    process = start(["run", "w.yaml"], tmp_path, a_long_one())
    wait_for_turns(process, tmp_path)
    process.send_signal(number)
    code, out, err = finish(process)
    assert code == 4, out + err
    assert "Traceback" not in err
    check_partial_run(tmp_path, "interrupted")


def test_an_engine_that_dies_in_the_middle_is_told_and_keeps_what_was_measured(
    tmp_path: Path,
) -> None:
    process = start(["run", "w.yaml"], tmp_path, a_long_one())
    wait_for_turns(process, tmp_path)
    (engine,) = descendants(process.pid, "engines.embedded")
    engine.kill()
    code, out, err = finish(process)
    assert code == 4, out + err
    assert "small: died, ended with signal SIGKILL" in " ".join(err.split())
    assert "Traceback" not in err
    check_partial_run(tmp_path, "failed")


def check_partial_run(directory: Path, status: str) -> None:
    run = only_run(directory)
    (trial,) = Manifest.read(run).trials
    turns = read_turns(run / "small" / "1" / "turns.parquet")
    counts = trial.counts
    assert trial.status == status
    assert counts.planned == counts.recorded + counts.lost == NUM_LONG
    assert len(turns) == counts.recorded > 0
    assert (run / "report.html").exists()
    assert json.loads((run / "metrics.json").read_text())["engines"]["small"]["counts"][
        "recorded"
    ] == len(turns)
    assert left_behind(run) == []
