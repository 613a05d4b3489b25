"""`fsbench` as a user starts it: a process of its own, and what it leaves behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from suite.records.turn_records import read_shards

FSBENCH = (sys.executable, "-m", "suite.cli")
REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}


def workload(**changes: Any) -> dict[str, Any]:
    """A small one for the embedded engine, with too little KV cache for all at once."""
    return {
        "name": "small",
        "seed": 3,
        "model": "tiny-llama",
        "conversations": {
            "source": "fixed",
            "count": 6,
            "turns": 2,
            "prompt_tokens": 60,
            "output_tokens": 16,
        },
        "arrivals": {"process": "constant", "rate": 50.0},
        "users": {
            "quick": {"share": 0.5, "slo": {"ttft": "60s", "tbt": "60s", "attainment": 0.9}},
            "slow": {"share": 0.5, "slo": {"ttft": "60s", "tbt": "60s", "attainment": 0.9}},
        },
        "priorities": {"pattern": "random", "levels": 4, "update_frequency": 0.25},
        "engines": {
            "small": {
                "kind": "fastswitch",
                "kv_tokens": 256,
                "swap_tokens": 2048,
                "max_batch_tokens": 128,
            }
        },
        **changes,
    }


def start(
    arguments: Sequence[str],
    directory: Path,
    spec: dict[str, Any] | None = None,
    *,
    through: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """In `directory`, with `spec` as w.yaml, and as the end of the command `through`; the
    repository stays importable."""
    if spec is not None:
        (directory / "w.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return subprocess.Popen(
        [*through, *FSBENCH, *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 240) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)."""
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def wait_for_turns(process: subprocess.Popen[str], directory: Path) -> None:
    """Until a trial of the run in `directory` has a whole row on disk: the size of a file says
    nothing, since a batch of rows goes out in several writes."""
    while not any(read_shards(trial).num_rows for trial in directory.glob("runs/*/*/1")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def only_run(directory: Path) -> Path:
    (run,) = (directory / "runs").iterdir()
    return run


def left_behind(run: Path) -> list[str]:
    """Command lines of processes that still speak of this run, and not of another test's that
    began in the same second and is named alike."""
    root = run.resolve().parents[1]
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words, cwd = process.info["cmdline"] or [], process.info["cwd"]
        is_ours = cwd is not None and Path(cwd).is_relative_to(root)  # none: just ending
        if is_ours and any(str(run.name) in word for word in words):
            found.append(" ".join(words))
    return found
