"""What a run says where its output is no terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from suite.playing.run_display import RunDisplay
from suite.playing.workload import load_workload
from suite.records.progress import Progress
from suite.records.run_directory import Counts, Trial

CI = Path("workloads/ci.yaml")


def test_virtual_seconds_are_called_so_and_no_line_is_wrapped():
    workload = load_workload(CI, ["conversations.count=1", "conversations.max_turns=1"])
    trial = Trial(
        engine="fastswitch",
        repeat=1,
        status="complete",
        note=None,
        started_at_monotonic_s=0.0,
        duration_s=273.2,
        counts=Counts(planned=1, recorded=1, failed=0, lost=0),
        driver=None,
    )
    text = io.StringIO()
    with RunDisplay(workload, Console(file=text, width=20), what=", again") as progress:
        progress.on_trial_start("fastswitch", 1)
        progress.on_trial_end(trial)
    first, _, last = text.getvalue().splitlines()
    assert first.startswith("ci, again: 1 conversation, 1 turn, plan ")
    assert first.endswith("; 2 engines")
    assert last == ("fastswitch: complete after 273.2 virtual s, 1 of 1 turn recorded, 0 failed")


def test_a_trial_that_takes_long_is_told_of_every_ten_seconds():
    workload = load_workload(CI, ["conversations.count=3", "conversations.max_turns=1"])
    now = [0.0]
    text = io.StringIO()
    with RunDisplay(workload, Console(file=text), clock=lambda: now[0]) as display:
        display.on_trial_start("fastswitch", 1)
        for second in range(1, 32):
            now[0] = float(second)
            display.on_progress(
                Progress(
                    num_planned=3,
                    num_done=second // 15,
                    num_failed=second // 25,
                    num_in_flight=1,
                    num_output_tokens=10 * second,
                    elapsed_s=float(second),
                    ttft_p99_s=0.25 if second > 15 else None,
                )
            )
    _, begun, *told = text.getvalue().splitlines()
    assert begun == "fastswitch: 3 turns"
    assert told == [
        "fastswitch: 0 of 3 turns, 1 in flight, 10 tokens/s",
        "fastswitch: 1 of 3 turns, 1 in flight, 10 tokens/s, P99 TTFT 250 ms",
        "fastswitch: 2 of 3 turns, 1 in flight, 10 tokens/s, P99 TTFT 250 ms, 1 failed",
    ]


def test_a_trial_that_ends_by_time_is_told_of_in_seconds():
    loop = ["arrivals={process: closed, concurrency: 2}", "conversations.max_turns=1"]
    workload = load_workload(CI, [*loop, "conversations.duration=40s", "conversations.count=90"])
    now = [0.0]
    text = io.StringIO()
    with RunDisplay(workload, Console(file=text, width=20), clock=lambda: now[0]) as display:
        display.on_trial_start("fastswitch", 1)
        now[0] = 10.0
        display.on_progress(
            Progress(
                num_planned=90,
                num_done=7,
                num_failed=0,
                num_in_flight=2,
                num_output_tokens=100,
                elapsed_s=10.0,
                ttft_p99_s=None,
                planned_s=40.0,
            )
        )
        display.on_trial_end(
            Trial(
                engine="fastswitch",
                repeat=1,
                status="complete",
                note=None,
                started_at_monotonic_s=0.0,
                duration_s=41.0,
                counts=Counts(planned=90, recorded=30, failed=0, lost=0, not_begun=60),
                driver=None,
            )
        )
    _, begun, told, last = text.getvalue().splitlines()
    assert begun == "fastswitch: 90 turns at most, for 40s"
    assert told == "fastswitch: 10 of 40 s, 7 turns, 2 in flight, 10 tokens/s"
    assert last == "fastswitch: complete after 41.0 virtual s, 30 of 30 turns recorded, 0 failed"
