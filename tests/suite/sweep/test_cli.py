"""What the commands refuse of sweeps, and what they say of a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from suite.cli import app
from tests.suite.sweep.examples import ENGINE, MATRIX, write

REPOSITORY = Path(__file__).parents[3]
SEARCHED = {"engines": {"e": {**ENGINE, "time": "wall"}}, "baseline": None}
WALL = {**SEARCHED, "matrix": {"seed": [1]}}


def test_validate_and_plan_say_how_many_cells_there_are(tmp_path: Path) -> None:
    path = str(write(tmp_path, matrix={"engines.*.kv_tokens": [512, 1024], **MATRIX}))
    told = CliRunner().invoke(app, ["validate", path]).stdout
    assert told == f"{path}: fine. 8 cells (kv_tokens 2 × rate 2 × seed 2), 4 different plans\n"
    shown = CliRunner().invoke(app, ["plan", path]).stdout
    assert shown.startswith(
        "8 cells (kv_tokens 2 × rate 2 × seed 2); the first, kv_tokens=512,rate=2.0,seed=3:"
    )


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("workloads/paper/load-sweep.yaml", "14 cells (rate 7 × seed 2), 14 different plans"),
        ("benchmarks/mechanisms.yaml", "engines: vllm-0.3, groups, async, reuse, fastswitch"),
    ],
)
def test_the_shipped_sweeps_are_fine(file: str, says: str) -> None:
    assert says in CliRunner().invoke(app, ["validate", str(REPOSITORY / file)]).stdout


@pytest.mark.parametrize(
    ("command", "changes", "problem"),
    [
        ("validate", {"matrix": {"arrivals.rte": [1]}}, "matrix.arrivals.rte = 1: arrivals.rte is"),
        (
            "validate",
            {"matrix": {"engines.*.kv_tokens": [512, 8]}},
            "kv_tokens = 8: engines.vllm-0.3.",
        ),
        ("validate", {"matrix": {"engines.*.preset": ["vlm"]}}, "preset 'vlm' is unknown; choose"),
        ("run --jobs 2", {}, "--jobs is for sweeps, and "),
        ("run --resume there", {}, "--resume is for sweeps, and "),
        ("run --plan p", {"matrix": MATRIX}, "--plan is for a single run"),
        ("run --on dask", {"matrix": MATRIX}, "--on must be ray or ray://HOST:PORT, got 'dask'"),
        ("run --resume .", {"matrix": MATRIX}, "is not a sweep's directory, sweep.json is missing"),
        ("run --jobs 2", WALL, "--jobs 2: an engine of this workload runs in wall time"),
        (
            "capacity",
            {"matrix": {**MATRIX, "engines.*.kv_tokens": [256, 512]}},
            "tiny.yaml: matrix sweeps engines.*.kv_tokens, and a capacity is of one setting",
        ),
        ("capacity --target 2", {}, "--target must be a share in (0, 1], got 2"),
        ("capacity --budget 20m", {}, "--budget 20m: the engines run in virtual time"),
        ("capacity --budget 20", SEARCHED, "--budget must be written like"),
        ("capacity --budget 0s", SEARCHED, "--budget must be above 0, got 0s"),
        ("capacity --seeds 2", SEARCHED, "--seeds 2: the engines run in wall time"),
        ("capacity --users 50", SEARCHED, "--users must be at least 106 for --target 0.9"),
        ("capacity --on ray", SEARCHED, "--on ray: an engine of this workload runs in wall time"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    changes: dict[str, Any],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("suite.cli.executing.signal.signal", lambda *_: None)
    name, *options = command.split()
    refused = CliRunner().invoke(app, [name, str(write(tmp_path, **changes)), *options])
    assert problem in str(refused.exception) and "\n" not in str(refused.exception)
    assert not (tmp_path / "runs").exists()
