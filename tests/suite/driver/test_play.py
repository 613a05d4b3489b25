"""The whole driver, Locust processes included, against the scripted engine."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from engines.api import Endpoint
from suite.driver.calibrate import calibrate, read_truth
from suite.driver.early_stop import StopRule
from suite.driver.play import Drive, play
from suite.records.play_result import Enough
from suite.records.progress import Progress
from suite.records.turn_records import read_shards, read_started_at, read_turns, shard_paths
from tests.processes import descendants, is_running
from tests.suite.driver.conftest import ScriptedEngine
from workloads.plan import Plan

REPOSITORY = Path(__file__).parents[3]
MakePlan = Callable[..., Plan]


def drive_of(tmp_path: Path, plan: Plan, to: Endpoint, *, num_workers: int = 1) -> Drive:
    plan.write(tmp_path / "plan.parquet")
    return Drive(
        plan_path=tmp_path / "plan.parquet",
        endpoint=to,
        directory=tmp_path / "part",
        turn_timeout_s=600.0,
        num_workers=num_workers,
    )


def drivers() -> list[psutil.Process]:
    return descendants(os.getpid(), "locustfile.py")


def test_two_workers_share_one_start_and_leave_one_file(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    plan = make_plan(starts_at_s=(0.0, 0.05, 0.1, 0.15), num_turns=2, num_output_tokens=6)
    to = replace(engine.endpoint(fault="429", fault_turn=1), api_key="s3cret")
    seen: list[Progress] = []
    drive = drive_of(tmp_path, plan, to, num_workers=2)
    result = play(drive, on_progress=seen.append)

    assert result.note is None
    assert result.stopped_by is None
    counts = result.counts
    assert (counts.planned, counts.recorded, counts.failed, counts.lost) == (8, 8, 4, 0)
    assert result.quality.num_workers == 2
    assert result.quality.time_source == "kernel"
    assert seen[-1].num_done == 8
    assert seen[-1].num_failed == 4
    assert seen[-1].num_output_tokens == 24
    assert seen[-1].ttft_p99_s is not None

    path = drive.directory / "turns.parquet"
    started_at = read_started_at(path)
    assert started_at == result.started_at_monotonic_s
    assert started_at is not None
    written_at = read_truth(engine.truth_path)
    errors_s: list[float] = []
    for record in read_turns(path):
        written = np.asarray(written_at[record.conversation_id, record.turn])
        errors_s += list(np.asarray(record.token_at) + started_at - written)
    assert len(errors_s) == 24
    assert -0.001 < min(errors_s) < 0.005  # a busy machine delays many, never every one
    assert shard_paths(drive.directory) == []
    assert drivers() == []
    left = "".join(
        p.read_text() for p in drive.directory.iterdir() if p.suffix in (".json", ".log")
    )
    assert "s3cret" not in left


def test_a_closed_loop_that_ends_by_time_begins_nothing_more_in_any_worker(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    """What is in flight then is answered; the rest is neither lost nor failed. Each worker has
    begun the first of its own conversations."""
    plan = make_plan(
        starts_at_s=(0.0,) * 200,
        num_turns=3,
        num_output_tokens=20,
        closed_concurrency=4,
    )
    plan = replace(plan, closed_duration_s=1.5)
    seen: list[Progress] = []
    drive = drive_of(tmp_path, plan, engine.endpoint(), num_workers=2)
    result = play(drive, on_progress=seen.append)

    assert (result.stopped_by, result.note, result.ran_out_at_s) == (None, None, None)
    turns = read_turns(drive.directory / "turns.parquet")
    counts = result.counts
    assert 0 < counts.recorded == len(turns) < counts.planned
    assert counts.planned == counts.recorded + counts.not_begun
    assert (counts.lost, counts.failed, counts.cut, counts.not_due) == (0, 0, 0, 0)
    assert all(each.planned_at is not None and each.planned_at < 1.5 for each in turns)
    assert all(each.error is None and len(each.token_at) == 20 for each in turns)
    assert result.duration_s > 1.5  # somebody was being answered when the time had passed
    place = {each.conversation_id: k for k, each in enumerate(plan.conversations)}
    begun = sorted({place[each.conversation_id] for each in turns})
    for worker in (0, 1):
        own = [k for k in begun if k % 2 == worker]
        assert own == list(range(worker, worker + 2 * len(own), 2)) != []
    assert seen[-1].planned_s == 1.5
    assert drivers() == []


def test_a_closed_loop_whose_plan_is_used_up_before_its_time_says_when(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    plan = make_plan(starts_at_s=(0.0,) * 3, closed_concurrency=2)
    drive = drive_of(tmp_path, replace(plan, closed_duration_s=600.0), engine.endpoint())
    result = play(drive)
    assert (result.counts.recorded, result.counts.not_begun, result.note) == (3, 0, None)
    assert result.ran_out_at_s is not None and 0 < result.ran_out_at_s <= result.duration_s


def test_workers_that_stood_still_for_longer_than_locust_waits_play_their_shares(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    drive = drive_of(tmp_path, make_plan(starts_at_s=(0.0, 0.0)), engine.endpoint(), num_workers=2)
    stopped: list[psutil.Process] = []

    def go_on() -> None:
        for worker in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.resume()

    def stop_once_connected(_: Progress) -> None:
        log = (drive.directory / "driver-master.log").read_text()
        if stopped or "2 workers connected" not in log:
            return
        for worker in descendants(os.getpid(), "--worker"):
            worker.suspend()
            stopped.append(worker)
        threading.Timer(7.0, go_on).start()

    result = play(drive, on_progress=stop_once_connected)
    assert (len(stopped), result.note, result.counts.recorded) == (2, None, 2)


def test_a_reason_to_stop_keeps_what_was_measured(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    plan = make_plan(starts_at_s=(0.0, 0.0, 600.0), num_turns=3)
    seen: list[Progress] = []

    def engine_died() -> str | None:
        return "the engine died" if (seen[-1].num_done, seen[-1].num_in_flight) == (2, 2) else None

    drive = drive_of(tmp_path, plan, engine.endpoint(fault="stall", fault_turn=1))
    result = play(drive, on_progress=seen.append, should_stop=engine_died)
    assert result.stopped_by == "caller"
    assert result.note == "the engine died"
    counts = result.counts
    assert (counts.planned, counts.recorded, counts.failed, counts.lost) == (9, 4, 2, 5)
    turns = read_turns(drive.directory / "turns.parquet")
    cut_short = (1, "cut short: the engine died")
    assert sorted((each.turn, each.error) for each in turns) == [(0, None)] * 2 + [cut_short] * 2
    assert drivers() == []


@pytest.mark.parametrize(("is_complete", "by"), [(True, "enough"), (False, "time")])
def test_when_enough_is_known_what_is_under_way_is_neither_failed_nor_missed(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan, is_complete: bool, by: str
) -> None:
    plan = make_plan(starts_at_s=(0.0, 0.0, 600.0), num_turns=3)

    def is_enough(directory: Path) -> Enough | None:
        """The directory is the trial's, with what was recorded until now."""
        num = len(read_shards(directory))
        return Enough(note=f"{num} are enough", is_complete=is_complete) if num == 2 else None

    drive = drive_of(tmp_path, plan, engine.endpoint(fault="stall", fault_turn=1))
    result = play(drive, is_enough=is_enough)
    assert (result.stopped_by, result.note) == (by, "2 are enough")
    counts = result.counts
    assert (counts.failed, counts.cut, counts.not_due) == (0, 2, 5)
    assert drivers() == []


def test_a_run_whose_turns_are_all_refused_ends_early(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    plan = make_plan(starts_at_s=(0.0,) * 30 + (600.0,))
    drive = drive_of(tmp_path, plan, engine.endpoint(fault="429", fault_turn=0))
    rule = StopRule(error_ratio=0.5, after=20, is_throughout=False)
    result = play(replace(drive, stop_rule=rule))
    assert result.stopped_by == "errors"
    assert result.note is not None
    assert "turns failed (stop: error_ratio 0.5 after 20)" in result.note
    assert result.note.endswith("429 Too Many Requests: slow down (Retry-After: 3)")
    assert result.counts.recorded >= 20
    assert drivers() == []


def test_ctrl_c_keeps_what_was_measured(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    """One turn is done, the next of its conversation stalls, and others are not due yet."""
    plan = make_plan(starts_at_s=(0.0, 600.0), num_turns=3, num_output_tokens=3)

    def press_when_one_is_done(progress: Progress) -> None:
        if (progress.num_done, progress.num_in_flight) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)

    drive = drive_of(tmp_path, plan, engine.endpoint(fault="stall", fault_turn=1))
    result = play(drive, on_progress=press_when_one_is_done)
    assert result.stopped_by == "signal"
    counts = result.counts
    assert (counts.recorded, counts.failed, counts.lost) == (2, 0, 4)
    assert (counts.cut, counts.not_asked, counts.not_due) == (1, 0, 4)
    done, cut = read_turns(drive.directory / "turns.parquet")
    assert len(done.token_at) == 3
    assert (cut.error, cut.error_source) == ("cut short: stopped by Ctrl-C", "stop")
    assert drivers() == []


def test_a_killed_driver_is_told_and_what_it_had_flushed_is_kept(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    plan = make_plan(starts_at_s=(0.0, 600.0), num_output_tokens=3)

    def kill_once_flushed(progress: Progress) -> None:
        if progress.num_done == 1 and read_shards(drive.directory).num_rows == 1:
            for process in drivers():
                process.kill()

    drive = drive_of(tmp_path, plan, engine.endpoint())
    result = play(drive, on_progress=kill_once_flushed)
    assert result.stopped_by == "driver"
    assert result.note is not None
    assert result.note.startswith("driver worker 0 died (exit code -9")
    assert (result.counts.recorded, result.counts.lost) == (1, 1)


def test_a_killed_parent_leaves_no_driver_behind_and_its_flushed_turns_readable(
    tmp_path: Path, engine: ScriptedEngine, make_plan: MakePlan
) -> None:
    drive = drive_of(tmp_path, make_plan(starts_at_s=(0.0, 600.0)), engine.endpoint())
    pickled = tmp_path / "drive.pickle"
    pickled.write_bytes(pickle.dumps(drive))
    code = (
        "import pickle, pathlib, sys\n"
        "from suite.driver.play import play\n"
        "play(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(pickled)], cwd=REPOSITORY) as parent:
        wait_until(lambda: drive.directory.exists() and read_shards(drive.directory).num_rows == 1)
        [driver] = drivers()
        parent.kill()
    wait_until(lambda: not is_running(driver.pid))
    assert read_shards(drive.directory)["error"].to_pylist() == [None]


def wait_until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_calibration_measures_the_drivers_own_error(tmp_path: Path) -> None:
    measured = calibrate(tmp_path, num_streams=4, tokens_per_s=40, duration_s=0.5)
    assert measured.num_tokens == 4 * 20
    assert measured.time_source == "kernel"
    assert 0 <= measured.error_p50_s <= measured.error_p99_s <= measured.error_max_s
