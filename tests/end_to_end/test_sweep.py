"""`fsbench run` with a matrix as a process: killed and resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from suite.cli.sweeping import report_sweep
from suite.sweep.manifest import SweepManifest
from tests.end_to_end.command import ENVIRONMENT, finish, start
from tests.suite.sweep.examples import TINY

SPEC = {**TINY, "matrix": {"arrivals.rate": [1, 2, 3]}}
# The process is its own killer: no other could be sure to come between two trials of a cell.
KILLED_IN_THE_SECOND_CELL = """
import os, signal
from suite.playing import runner
from suite.cli import app
play_trial, parts_left = runner.play_trial, [1, 2, 3]

def play_or_die(*args, **others):
    if not parts_left:
        os.kill(os.getpid(), signal.SIGKILL)
    parts_left.pop()
    return play_trial(*args, **others)

runner.play_trial = play_or_die
app()
"""


def fsbench(folder: Path, *arguments: str) -> tuple[int, str]:
    code, output, errors = finish(start(arguments, folder))
    return code, output + errors


def test_a_sweep_killed_in_the_middle_is_resumed_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    command = [sys.executable, "-c", KILLED_IN_THE_SECOND_CELL, "run", "w.yaml", "--jobs", "1"]
    killed = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (sweep,) = (tmp_path / "runs").iterdir()
    assert [entry.status for entry in SweepManifest.read(sweep).cells] == [
        "complete",
        "pending",
        "pending",
    ]
    assert (sweep / "cells/rate=2/manifest.json").exists()
    first = sweep / "cells/rate=1/metrics.json"
    written_at = first.stat().st_mtime_ns
    code, output = fsbench(tmp_path, "run", "w.yaml", "--jobs", "1", "--resume", str(sweep))
    assert code == 0, output
    assert "users within SLO" in output
    assert {entry.status for entry in SweepManifest.read(sweep).cells} == {"complete"}
    assert pq.read_table(sweep / "sweep.parquet").num_rows == 2 * 3
    assert first.stat().st_mtime_ns == written_at
    (sweep / "report.html").unlink()
    report_sweep(sweep)
    assert "arrivals.rate" in (sweep / "report.html").read_text()
