"""Cached prompt tokens: by hand, per class, in gates and comparisons, and where nothing is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.judging.judged_run import judge_run
from suite.judging.metrics_file import measure
from tests.reports.synthetic_run import FAST, SLOW, write_run
from tests.suite.measuring.test_metrics import ALL_WELL, measured, run_of

NAME = "prompts.cached_tokens_ratio"
# (prompt, cached) of ann's two turns, bob's (both quick), and cat's two (calm).
COUNTS = ((10, 0), (20, 8), (10, None), (10, 0), (40, 30))
TOLD = [
    replace(record, num_prompt_tokens=prompt, num_cached_tokens=cached)
    for record, (prompt, cached) in zip(ALL_WELL, COUNTS, strict=True)
]


def test_it_is_cached_by_prompt_tokens_of_the_turns_that_tell_both(tmp_path: Path) -> None:
    prompts = measured(tmp_path, TOLD)["prompts"]
    assert prompts["cached_tokens_ratio"] == 38 / 80
    assert prompts["num_told_turns"] == 4
    low, high = prompts["interval"]["cached_tokens_ratio"]
    assert low < 38 / 80 < high
    by_class = prompts["by_class"]
    assert by_class["quick"]["cached_tokens_ratio"] == 8 / 30
    assert by_class["calm"]["cached_tokens_ratio"] == 30 / 50
    assert by_class["calm"]["interval"] == {"cached_tokens_ratio": None}  # of one conversation


def test_a_server_that_tells_nothing_leaves_it_open_with_the_reason(tmp_path: Path) -> None:
    run = run_of(tmp_path, [replace(each, num_cached_tokens=None) for each in TOLD])
    prompts = measure(run)["engines"]["mine"]["prompts"]
    why = "the server does not tell how many prompt tokens it had cached"
    assert prompts["cached_tokens_ratio"] is None
    assert prompts["unavailable"] == {"cached_tokens_ratio": why}
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"- {NAME}[calm] >= 0.5\n")
    [gate] = judge_run(run, baseline=None, rules=rules, is_unpaired=False)["gates"]
    assert (gate["outcome"], gate["reason"]) == ("inconclusive", why)


def test_engines_of_one_plan_are_paired_by_conversation(tmp_path: Path) -> None:
    """Both engines of the synthetic run cache the whole history, so only the pairing can tell that
    nothing differs: two intervals alone would leave room on both sides."""
    run = write_run(tmp_path, {"fast": FAST, "slow": SLOW}, baseline="slow")
    metrics = measure(run)
    own = metrics["engines"]["fast"]["prompts"]["interval"]["cached_tokens_ratio"]
    assert own[1] - own[0] > 0.02
    [entry] = [each for each in metrics["comparisons"]["fast"] if each["metric"] == NAME]
    assert entry["ratio"] == 1
    assert entry["within_runs"] == pytest.approx([1, 1], abs=1e-6)
    assert len(metrics["engines"]["fast"]["between_runs"][f"{NAME}[batch]"]["values"]) == 2
