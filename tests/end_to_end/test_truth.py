"""The main job against an engine whose token instants are known exactly: metrics.json is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.driver.calibrate import truth_rows
from suite.driver.truthful_server import PROMPT_START
from suite.records.turn_records import read_started_at, read_turns
from suite.statistics.summaries import quantile
from tests.end_to_end.command import finish, only_run, start, workload
from tests.end_to_end.scripted_engine import running_scripted_engine
from workloads.plan import Plan

NUM_CONVERSATIONS = 120
NUM_TOKENS = 12
FIRST_AFTER_S = 0.15
GAP_S = 0.03
# The least delay is below it: a busy machine delays many tokens, never every one.
LEAST_DELAY_S = 0.005
# The kernel stamps in real time, the server writes down monotonic instants.
CLOCKS_APART_S = 0.001


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """(run directory, the server's own account of each answer, in the plan's order)."""
    directory = tmp_path_factory.mktemp("truth")
    with running_scripted_engine(directory) as port:
        engine = {
            "kind": "openai",
            "base_url": f"http://127.0.0.1:{port}/v1",
            "prompts": "token_ids",
            "prefix_cache": "shared",  # no opening words: an account is told by its prompt
            "extra_body": {"script": {"first_after_s": FIRST_AFTER_S, "gap_s": GAP_S}},
        }
        spec = workload(
            engines={"scripted": engine},
            conversations={
                "source": "fixed",
                "count": NUM_CONVERSATIONS,
                "turns": 1,
                "prompt_tokens": 8,
                "output_tokens": NUM_TOKENS,
            },
            arrivals={"process": "constant", "rate": 40.0},
        )
        code, out, err = finish(start(["run", "w.yaml"], directory, spec))
    assert code == 0, out + err
    return only_run(directory), in_the_plans_order(truth_rows(directory / "truth.jsonl"), directory)


def in_the_plans_order(truth: list[dict[str, Any]], directory: Path) -> list[dict[str, Any]]:
    """By what was asked: requests that are sent at one moment may come in any order."""
    conversations = Plan.read(only_run(directory) / "plan.parquet").conversations
    starts = [list(each.turns[0].new_prompt_token_ids[:PROMPT_START]) for each in conversations]
    return sorted(truth, key=lambda each: starts.index(each["body"]["prompt_start"]))


def test_ttft_and_tbt_are_those_the_server_gave(
    played: tuple[Path, list[dict[str, Any]]],
) -> None:
    """A token is seen after it was written, by a delay that can be looked at for each token alone:
    no percentile may be off by more than the largest of them, however the machine stalls."""
    run, truth = played
    path = run / "scripted" / "1" / "turns.parquet"
    started_at = read_started_at(path)
    assert started_at is not None
    turns = sorted(read_turns(path), key=lambda turn: turn.scheduled_at)
    assert len(truth) == len(turns) == NUM_CONVERSATIONS
    seen_at = started_at + np.array([turn.token_at for turn in turns])
    sent_at = started_at + np.array([turn.sent_at for turn in turns])
    written_at = np.array([each["token_at"] for each in truth])
    delay_s = seen_at - written_at
    assert delay_s.min() >= -CLOCKS_APART_S, "seen before it was written"
    assert delay_s.min() <= LEAST_DELAY_S
    first_delay_s = delay_s[:, 0]
    gap_error_s = np.diff(delay_s)
    measured = json.loads((run / "metrics.json").read_text())["engines"]["scripted"]
    for name, samples, errors_s in (
        ("ttft_s", written_at[:, 0] - sent_at, first_delay_s),
        ("tbt_s", np.diff(written_at).ravel(), gap_error_s),
    ):
        ascending = np.sort(samples)
        summary = measured[name]
        assert summary["count"] == len(samples)
        for key, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
            error_s = summary[key] - quantile(ascending, q)
            assert errors_s.min() - 1e-9 <= error_s <= errors_s.max() + 1e-9, key
        assert summary["mean"] == pytest.approx(np.mean(samples) + np.mean(errors_s), abs=1e-6)


def test_what_was_asked_for_is_what_the_file_says(
    played: tuple[Path, list[dict[str, Any]]],
) -> None:
    run, truth = played
    bodies = [each["body"] for each in truth]
    assert {body["max_tokens"] for body in bodies} == {NUM_TOKENS}
    assert {body["num_prompt_tokens"] for body in bodies} == {8}
    assert all(body["stream"] and body["ignore_eos"] for body in bodies)
    planned_at = np.arange(NUM_CONVERSATIONS) / 40
    turns = read_turns(run / "scripted" / "1" / "turns.parquet")
    assert sorted(turn.scheduled_at for turn in turns) == pytest.approx(planned_at)
    received_at = np.array([each["received_at"] for each in truth])
    started_at = read_started_at(run / "scripted" / "1" / "turns.parquet")
    assert started_at is not None
    # however late the machine is, nobody comes before their time
    assert (received_at - started_at - planned_at).min() >= 0
