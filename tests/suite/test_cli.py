"""Exit codes that need no engine."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.run_directory import Manifest
from tests.reports.synthetic_run import FAST, write_run


@pytest.mark.parametrize(("status", "exit_code"), [("complete", 0), ("interrupted", 4)])
def test_an_incomplete_run_passes_no_gate(tmp_path, status, exit_code):
    run = write_run(tmp_path, {"fast": FAST}, gates=("counts.failed <= 0",))
    manifest = Manifest.read(run)
    parts = [part.model_copy(update={"status": status}) for part in manifest.parts]
    manifest.model_copy(update={"parts": parts}).write(run)
    judged = CliRunner().invoke(app, ["gate", str(run)])
    assert "PASS" in judged.stdout
    assert judged.exit_code == exit_code
    assert ("could not be completed" in judged.stderr) == (status != "complete")


def test_a_shell_can_complete_the_commands():
    asked = {"_FSBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "fsbench ca", "COMP_CWORD": "1"}
    found = CliRunner().invoke(app, env=asked, prog_name="fsbench")
    assert found.stdout.split() == ["capacity", "calibrate"]
