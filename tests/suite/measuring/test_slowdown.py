"""The run without neighbours: how it is asked for, and the slowdown that comes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.judging.judged_run import judge_run
from suite.judging.metrics_file import measure
from suite.playing.solo import solo_workload
from suite.playing.workload import load_workload
from tests.suite.measuring.test_metrics import ALL_WELL, run_of


def test_alone_means_one_conversation_at_a_time_without_pauses():
    workload = load_workload(Path("workloads/quickstart.yaml"))
    alone = solo_workload(workload)
    assert alone.plan.closed_concurrency == 1
    assert alone.plan.num_turns == workload.plan.num_turns
    assert {turn.think_time_s for each in alone.plan.conversations for turn in each.turns} == {0.0}
    assert (alone.spec.repeats, alone.spec.gates) == (1, [])


def test_slowdown_is_how_much_longer_each_turn_took_than_alone(tmp_path):
    """Alone every turn takes half as long, but bob's a quarter; one of cat's turns fails alone."""
    run = run_of(tmp_path, ALL_WELL)
    without = measure(run)["engines"]["mine"]["fairness"]
    assert without["by_class"]["quick"]["slowdown_p50"] is None
    assert without["slowdown_mean"] is None
    assert without["unavailable"]["slowdown_mean"] == "needs a solo run: fsbench run --solo"
    alone = []
    for each in ALL_WELL:
        factor = 0.25 if each.user_id == "bob" else 0.5
        e2e_s = each.done_at - each.sent_at
        alone.append(replace(each, done_at=each.sent_at + factor * e2e_s))
    alone[4] = replace(alone[4], error="reset")
    (tmp_path / "solo").mkdir()
    run_of(tmp_path / "solo", alone)
    found = measure(run)["engines"]["mine"]["fairness"]
    assert found["slowdown_mean"] == pytest.approx((2 + 2 + 4 + 2) / 4)
    assert found["slowdown_max"] == 4
    assert (found["slowdown_worst_user_id"], found["slowdown_worst_user_class"]) == ("bob", "quick")
    quick, calm = found["by_class"]["quick"], found["by_class"]["calm"]
    assert (quick["slowdown_mean"], quick["slowdown_max"]) == (pytest.approx((2 + 2 + 4) / 3), 4)
    assert (calm["slowdown_mean"], calm["slowdown_worst_user_id"]) == (pytest.approx(2), "cat")
    assert calm["unavailable"]["slowdown_p99"] == "needs at least 100 samples, has 1"
    gates = ["fairness.slowdown_max[quick] <= 3", "fairness.slowdown_mean[calm] <= 3"]
    judged = judge_run(run, baseline=None, rules=rules_file(tmp_path, gates), is_unpaired=False)
    assert [each["outcome"] for each in judged["gates"]] == ["fail", "pass"]
    assert judged["gates"][0]["observed"] == 4


def rules_file(folder: Path, gates: list[str]) -> Path:
    path = folder / "rules.yaml"
    path.write_text("".join(f"- {each}\n" for each in gates))
    return path
