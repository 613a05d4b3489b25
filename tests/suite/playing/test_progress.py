"""The lines a run writes where its output is no terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from suite.playing.progress import LiveProgress
from suite.playing.workload import load_workload
from suite.records.run_directory import Counts, Part

CI = Path("workloads/ci.yaml")


def test_virtual_seconds_are_called_so_and_no_line_is_wrapped():
    workload = load_workload(CI, ["conversations.count=1", "conversations.max_turns=1"])
    part = Part(
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
    with LiveProgress(workload, Console(file=text, width=20), what=", again") as progress:
        progress.on_part_start("fastswitch", 1)
        progress.on_part_end(part)
    first, _, last = text.getvalue().splitlines()
    assert first.startswith("ci, again: 1 conversation, 1 turn, plan ")
    assert first.endswith("; 2 engines")
    assert last == ("fastswitch: complete after 273.2 virtual s, 1 of 1 turns recorded, 0 failed")
