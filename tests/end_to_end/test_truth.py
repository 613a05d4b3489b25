"""The main job against an engine whose token instants are known exactly: metrics.json is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.records import read_started_at, read_turns
from suite.statistics import quantile
from tests.end_to_end.command import finish, only_run, start, workload
from tests.end_to_end.scripted_engine import running_scripted_engine

NUM_CONVERSATIONS = 120
NUM_TOKENS = 12
FIRST_AFTER_S = 0.15
GAP_S = 0.03
# The driver's own error is microseconds; what is allowed here covers a machine that stalls.
TYPICAL_S = 0.002
WORST_S = 0.05


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """(run directory, the server's own account of each answer, in order of arrival)."""
    directory = tmp_path_factory.mktemp("truth")
    with running_scripted_engine(directory) as port:
        engine = {
            "kind": "openai",
            "base_url": f"http://127.0.0.1:{port}/v1",
            "prompts": "token_ids",
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
    lines = (directory / "truth.jsonl").read_text().splitlines()
    truth = sorted((json.loads(line) for line in lines), key=lambda each: each["received_at"])
    return only_run(directory), truth


def test_ttft_and_tbt_are_those_the_server_gave(
    played: tuple[Path, list[dict[str, Any]]],
) -> None:
    run, truth = played
    path = run / "scripted" / "1" / "turns.parquet"
    started_at = read_started_at(path)
    assert started_at is not None
    sent_at = sorted(started_at + (turn.sent_at or np.nan) for turn in read_turns(path))
    assert len(truth) == len(sent_at) == NUM_CONVERSATIONS
    ttft_s = [each["token_at"][0] - sent for each, sent in zip(truth, sent_at, strict=True)]
    gaps_s = [gap for each in truth for gap in np.diff(each["token_at"])]
    measured = json.loads((run / "metrics.json").read_text())["engines"]["scripted"]
    for name, samples in (("ttft_s", ttft_s), ("tbt_s", gaps_s)):
        ascending = np.sort(samples)
        assert measured[name]["count"] == len(samples)
        for key, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
            allowed_s = TYPICAL_S if q < 0.95 else WORST_S
            assert measured[name][key] == pytest.approx(quantile(ascending, q), abs=allowed_s), key
        assert measured[name]["mean"] == pytest.approx(np.mean(samples), abs=TYPICAL_S)


def test_what_was_asked_for_is_what_the_file_says(
    played: tuple[Path, list[dict[str, Any]]],
) -> None:
    _, truth = played
    bodies = [each["body"] for each in truth]
    assert {body["max_tokens"] for body in bodies} == {NUM_TOKENS}
    assert {body["num_prompt_tokens"] for body in bodies} == {8}
    assert all(body["stream"] and body["ignore_eos"] for body in bodies)
    arrivals = np.diff([each["received_at"] for each in truth])
    assert np.mean(arrivals) == pytest.approx(1 / 40, rel=0.02)
