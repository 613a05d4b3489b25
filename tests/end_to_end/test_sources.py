"""Each source of conversations from its file to the records, against a real server that caches
prefixes as they do, and counts what it is sent."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.driver.caching_server import command
from suite.driver.calibrate import running_server
from suite.records.run_directory import Manifest
from suite.records.turn_records import TurnRecord, read_turns
from tests.end_to_end.command import finish, only_run, start
from workloads.plan import Plan

SLO = {"ttft": "30s", "tbt": "30s", "attainment": 0.5}
NUM_OPENING = 8  # words of the trial's own, before each conversation


@dataclass(frozen=True, slots=True)
class Played:
    plan: Plan
    records: dict[tuple[str, int], TurnRecord]  # by conversation and turn
    truth: list[dict[str, Any]]  # what the server was asked, in the order of its answers
    metrics: dict[str, Any]


@contextmanager
def caching_server(directory: Path) -> Iterator[tuple[str, Path]]:
    """Its base URL, and the file in which it says what it was asked."""
    directory.mkdir()
    argv = [sys.executable, *command(directory, first_after_s=0.005, gap_s=0.001, s_per_token=0)]
    with running_server(argv, directory) as port:
        yield f"http://127.0.0.1:{port}/v1", directory / "truth.jsonl"


def play(
    directory: Path, conversations: dict[str, Any], *, api: str = "chat", **changes: Any
) -> Played:
    """Runs the workload as a user does. Nothing may fail, and nothing be found that is not the
    trial's own."""
    with caching_server(directory / "server") as (url, truth):
        spec = {
            "name": "sources",
            "seed": 3,
            "conversations": conversations,
            "arrivals": {"process": "constant", "rate": 20.0},
            "users": {"all": {"share": 1.0, "slo": SLO}},
            "engines": {"server": {"kind": "openai", "base_url": url, "api": api}},
            **changes,
        }
        code, out, err = finish(start(["run", "w.yaml"], directory, spec))
        assert code == 0, out + err
        asked = [json.loads(line) for line in truth.read_text().splitlines()]
    run = only_run(directory)
    plan, metrics = Plan.read(run / "plan.parquet"), json.loads((run / "metrics.json").read_text())
    (trial,) = Manifest.read(run).trials
    turns = read_turns(trial.directory(run) / "turns.parquet")
    engine = metrics["engines"]["server"]
    assert engine["counts"]["recorded"] == engine["counts"]["planned"] == plan.num_turns
    assert engine["counts"]["failed"] == 0
    assert engine["prefix_cache"]["is_isolated"] is True, engine["warnings"]
    return Played(
        plan=plan,
        records={(each.conversation_id, each.turn): each for each in turns},
        truth=asked,
        metrics=engine,
    )


def test_a_shared_system_prompt_is_found_in_the_cache_and_that_is_as_it_should_be(
    tmp_path: Path,
) -> None:
    played = play(
        tmp_path,
        {
            "source": "synthetic",
            "count": 10,
            "turns": {"uniform": [1, 3]},
            "prompt_tokens": {"lognormal": {"median": 30, "sigma": 0.5, "min": 17, "max": 90}},
            "output_tokens": {"normal": {"mean": 5, "std": 2, "min": 2, "max": 9}},
            "shared_prefix": {"tokens": 200, "groups": 2},
        },
    )
    by_prefix: dict[bytes, list[int]] = {}
    for each in played.plan.conversations:
        first = played.records[each.conversation_id, 0]
        assert first.num_prompt_tokens == NUM_OPENING + 3 + each.turns[0].new_prompt_token_ids.size
        prefix = each.turns[0].new_prompt_token_ids[:200].tobytes()
        by_prefix.setdefault(prefix, []).append(first.num_cached_tokens or 0)
    assert len(by_prefix) == 2
    for first, *others in by_prefix.values():
        assert first < 32  # but the opening
        assert others and all(200 <= found <= 224 for found in others)
    assert {tuple(asked["body"]["roles"][:2]) for asked in played.truth} == {("system", "user")}
    for key, record in played.records.items():
        turn = next(c for c in played.plan.conversations if c.conversation_id == key[0]).turns
        assert record.num_output_tokens == turn[key[1]].num_output_tokens
