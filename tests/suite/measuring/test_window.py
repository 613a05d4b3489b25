"""Warm-up and drain: which conversations the rule leaves, and what follows from it."""

from __future__ import annotations

import pytest

from suite.judging.metrics_file import measure
from suite.measuring.window import CutError, measured
from suite.records.run_directory import Manifest
from tests.reports.synthetic_run import FAST, make_plan, write_run
from tests.workloads.examples import load_spec
from workloads.errors import WorkloadError

PLAN = make_plan(num_conversations=20)
STARTS = [each.start_at_s for each in PLAN.conversations]


def left(**rule):
    return [each.start_at_s for each in measured(PLAN, {"measure": rule}).plan.conversations]


def test_without_a_rule_the_whole_plan_is_measured():
    assert measured(PLAN, {}).plan is PLAN


def test_a_duration_counts_from_the_first_start_and_back_from_the_last():
    kept = left(warm_up="5s", drain="4s")
    assert kept == [each for each in STARTS if STARTS[0] + 5 <= each <= STARTS[-1] - 4]


def test_a_share_counts_conversations():
    assert left(warm_up=0.1, drain=0.25) == STARTS[2:15]


def test_a_rule_that_leaves_nothing_is_refused():
    with pytest.raises(CutError, match="leave none of the 20 conversations"):
        left(warm_up="1h")


def test_cut_conversations_count_in_the_part_but_are_not_judged(tmp_path):
    run = write_run(tmp_path, {"fast": FAST}, plan=PLAN, repeats=1)
    whole = measure(run)["engines"]["fast"]
    manifest = Manifest.read(run)
    manifest.model_copy(update={"workload": {"measure": {"warm_up": 0.5}}}).write(run)
    metrics = measure(run)
    cut = metrics["engines"]["fast"]
    num_left = sum(len(each.turns) for each in PLAN.conversations[10:])
    assert metrics["measured"]["num_cut_conversations"] == 10
    assert metrics["measured"]["num_cut_turns"] == PLAN.num_turns - num_left
    assert cut["counts"] == whole["counts"]
    assert cut["throughput"] == whole["throughput"]
    assert cut["ttft_s"]["count"] == cut["slo"]["num_turns"] == num_left


WORKLOAD = """
name: x
seed: 1
conversations: {source: fixed, count: 4, turns: 1, prompt_tokens: 4, output_tokens: 4}
arrivals: ARRIVALS
users: {a: {share: 1.0, slo: {ttft: 1s, tbt: 1s, attainment: 0.9}}}
engines: {e: {kind: openai, base_url: "http://localhost:1/v1", model: m}}
measure: {warm_up: CUT}
"""


@pytest.mark.parametrize(
    ("arrivals", "cut", "said"),
    [
        ("{process: closed, concurrency: 2}", "3s", "must be a share such as 0.1"),
        ("{process: poisson, rate: 1.0}", "1.5", r"share of the conversations in \[0, 1\)"),
        ("{process: poisson, rate: 1.0}", "soon", "must be written like 250ms"),
    ],
)
def test_a_wrong_cut_is_refused_with_what_to_write(tmp_path, arrivals, cut, said):
    path = tmp_path / "w.yaml"
    path.write_text(WORKLOAD.replace("ARRIVALS", arrivals).replace("CUT", cut))
    with pytest.raises(WorkloadError, match=said):
        load_spec(path)
