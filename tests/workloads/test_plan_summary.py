from __future__ import annotations

from pathlib import Path

from tests.workloads.examples import small_plan
from workloads.plan_summary import summarise

FIXED = "{source: fixed, count: 4, turns: 3, prompt_tokens: 10, output_tokens: 4, max_turns: 2}"


def test_a_summary_adds_up(tmp_path: Path) -> None:
    summary = summarise(small_plan(tmp_path, f"conversations={FIXED}"))
    assert (summary.num_conversations, summary.num_users, summary.num_turns) == (4, 4, 8)
    assert (summary.num_new_prompt_tokens, summary.num_output_tokens) == (80, 32)
    assert summary.num_history_tokens == 4 * 14  # the second turn sends the first again
    assert summary.conversations_per_class == {"interactive": 2, "batch": 2}
    context = summary.context_tokens
    assert (context.mean, context.p50, context.p99, context.maximum) == (21.0, 14, 28, 28)
    assert [(note.what, note.count) for note in summary.notes] == [("turns cut by max_turns", 4)]
    assert summary.last_start_at_s is not None
    assert summary.last_start_at_s > 0


def test_a_closed_plan_has_no_instants(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "arrivals={process: closed, concurrency: 3}")
    assert plan.closed_concurrency == 3
    assert summarise(plan).last_start_at_s is None
