"""`make demo` is a newcomer's first command: somebody else's load is no failure of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OF_A_MAKE_ABOVE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("code", "is_fine"), [(0, True), (1, False), (2, False), (4, False)])
def test_make_demo_fails_where_the_run_does(tmp_path: Path, code: int, is_fine: bool) -> None:
    done = demo(tmp_path, code)
    assert (done.returncode == 0) == is_fine, done.stderr
    assert "Inconclusive" not in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_an_inconclusive_demo_says_so_in_a_sentence_and_succeeds(tmp_path: Path) -> None:
    done = demo(tmp_path, 3)
    assert (done.returncode, done.stderr) == (0, "")
    [sentence] = done.stdout.splitlines()[1:]
    assert sentence.startswith("Inconclusive, and nothing is broken")
    assert "run 'make demo' again when it is quieter" in sentence


def demo(folder: Path, code: int) -> subprocess.CompletedProcess[str]:
    """With a command in fsbench's place that only ends as told."""
    command = folder / "fsbench"
    command.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
    command.chmod(0o755)
    # As from a shell: a make that runs these tests would pass on its own flags.
    env = {name: value for name, value in os.environ.items() if name not in OF_A_MAKE_ABOVE}
    return subprocess.run(
        ["make", "--no-print-directory", "--old-file=setup", "demo", f"BIN={folder}"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
