"""`workloads/ci.yaml`: passes as it is, and a slower scheduler makes it exit 1."""

from __future__ import annotations

import json
from pathlib import Path

from engines.simulated.profile import load_profile, profile_yaml
from tests.end_to_end.command import REPOSITORY, finish, only_run, start

CI = str(REPOSITORY / "workloads" / "ci.yaml")


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


def test_a_slower_scheduler_fails_it(tmp_path: Path) -> None:
    slow_scheduler(tmp_path / "slow.yaml", 0.03)
    setting = "engines.fastswitch.profile=slow.yaml"
    code, out, err = finish(start(["run", CI, "--set", setting], tmp_path))
    assert code == 1, out + err
    assert "FAIL" in out and "ttft.p99" in out
