"""`workloads/ci.yaml`: passes as it is and against the committed numbers; a slower engine or
a worse scheduler makes it exit 1."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.core.scheduler import Scheduler
from engines.simulated.profile import load_profile, profile_yaml
from suite.cli import app
from suite.playing.runner import run
from suite.playing.workload import load_workload
from suite.sweep.run_cell import NoObserver
from tests.end_to_end.command import REPOSITORY, finish, only_run, start

WORKLOADS = REPOSITORY / "workloads"
CI, BASELINE, RULES = (
    str(WORKLOADS / name) for name in ("ci.yaml", "ci-baseline.json", "ci-rules.yaml")
)


def judged(run: Path) -> tuple[int, str, str]:
    """By docs/ci.md's recipe: (exit code, stdout, stderr)."""
    command = ["gate", str(run), "--baseline", BASELINE, "--rules", RULES]
    result = CliRunner().invoke(app, command)
    return result.exit_code, result.stdout, result.stderr


def slow_scheduler(path: Path, more_s: float) -> None:
    """A profile whose engine takes longer around each step."""
    profile = load_profile("a10-llama3-8b")
    overhead = profile.step.step_overhead_s
    slow = overhead.model_copy(update={"value": overhead.value + more_s})
    step = profile.step.model_copy(update={"step_overhead_s": slow})
    path.write_text(profile_yaml(profile.model_copy(update={"step": step})))


def test_the_gate_passes_and_says_that_it_was_simulated(tmp_path: Path) -> None:
    code, out, err = finish(start(["run", CI], tmp_path))
    assert code == 0, out + err
    metrics = json.loads((only_run(tmp_path) / "metrics.json").read_text())
    assert [gate["outcome"] for gate in metrics["gates"]] == ["pass"] * len(metrics["gates"])
    for engine in metrics["engines"].values():
        (remark,) = [each for each in engine["warnings"] if "simulated, virtual time" in each]
        assert load_profile("a10-llama3-8b").caveat in remark
    assert "simulated, virtual time" in (only_run(tmp_path) / "report.html").read_text()
    code, out, err = judged(only_run(tmp_path))
    assert code == 0, (
        f"{out}{err}the numbers differ from the committed ones; where that is meant: "
        f"fsbench run {CI} && fsbench baseline update runs/ci-* --out {BASELINE}"
    )
    assert "FAIL" not in out and "baseline update" not in err


def test_a_scheduler_that_lets_fewer_in_fails_against_the_committed_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Scheduler.__init__

    def slower(self: Scheduler, core: Any, *others: Any) -> None:
        real(self, replace(core, max_num_seqs=6), *others)

    monkeypatch.setattr(Scheduler, "__init__", slower)
    workload = load_workload(Path(CI), [])
    run(workload, root=tmp_path / "runs", num_workers=1, observer=NoObserver())
    code, out, err = judged(only_run(tmp_path))
    assert code == 1, out + err
    assert "FAIL" in out and "ttft.p99" in out and "ci-baseline.json" in out
    assert f"fsbench baseline update {only_run(tmp_path)} --out {BASELINE}" in err


def test_a_slower_engine_fails_it(tmp_path: Path) -> None:
    slow_scheduler(tmp_path / "slow.yaml", 0.03)
    settings = ("engines.fastswitch.profile=slow.yaml", "conversations.count=40")
    given = [word for each in settings for word in ("--set", each)]
    code, out, err = finish(start(["run", CI, *given], tmp_path))
    assert code == 1, out + err
    assert "FAIL" in out and "ttft.p99" in out
