"""`fsbench run` with a matrix as a process: killed and resumed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pyarrow.parquet as pq

from suite.cli.sweeping import report_sweep
from suite.sweep.manifest import SweepManifest
from tests.end_to_end.command import finish, start
from tests.suite.sweep.examples import TINY

MATRIX = {"arrivals.rate": [*range(1, 8)]}  # so many that the kill comes before the last


def fsbench(folder: Path, *arguments: str) -> tuple[int, str]:
    code, output, errors = finish(start(arguments, folder))
    return code, output + errors


def test_a_sweep_killed_in_the_middle_is_resumed_where_it_was(tmp_path: Path) -> None:
    process = start(["run", "w.yaml", "--jobs", "1"], tmp_path, {**TINY, "matrix": MATRIX})
    while not list(tmp_path.glob("runs/*/cells/rate=2/metrics.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (sweep,) = (tmp_path / "runs").iterdir()
    first = sweep / "cells/rate=1/metrics.json"
    written_at = first.stat().st_mtime_ns
    code, output = fsbench(tmp_path, "run", "w.yaml", "--jobs", "1", "--resume", str(sweep))
    assert code == 0, output
    assert "users within SLO" in output
    assert {entry.status for entry in SweepManifest.read(sweep).cells} == {"complete"}
    assert pq.read_table(sweep / "sweep.parquet").num_rows == 2 * 7
    assert first.stat().st_mtime_ns == written_at
    (sweep / "report.html").unlink()
    report_sweep(sweep)
    assert "arrivals.rate" in (sweep / "report.html").read_text()
