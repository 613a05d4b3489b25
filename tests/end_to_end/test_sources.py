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

import pytest

from suite.driver.caching_server import command
from suite.driver.calibrate import running_server
from suite.records.run_directory import Manifest
from suite.records.turn_records import TurnRecord, read_turns
from tests.end_to_end.command import finish, only_run, start
from workloads.plan import Plan

SLO = {"ttft": "30s", "tbt": "30s", "attainment": 0.5}


@dataclass(frozen=True, slots=True)
class Played:
    plan: Plan
    records: dict[tuple[str, int], TurnRecord]  # by conversation and turn
    truth: list[dict[str, Any]]  # what the server was asked, in the order of its answers
    metrics: dict[str, Any]
    num_opening: int  # words of the trial's own, before each conversation


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
        num_opening=trial.isolation.num_tokens if trial.isolation else 0,
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
        planned = played.num_opening + each.turns[0].new_prompt_token_ids.size
        # Words are as many as make so many tokens, the template's among them.
        assert first.num_prompt_tokens == pytest.approx(planned, rel=0.05)
        prefix = each.turns[0].new_prompt_token_ids[:200].tobytes()
        by_prefix.setdefault(prefix, []).append(first.num_cached_tokens or 0)
    assert len(by_prefix) == 2
    for first, *others in by_prefix.values():
        assert first < 32  # but the opening
        assert others and all(184 <= found <= 224 for found in others)
    starts = [asked["body"]["roles"][:2] for asked in played.truth]  # with those that measure words
    assert starts.count(["system", "user"]) == played.plan.num_turns + 1  # one measures
    for key, record in played.records.items():
        turn = next(c for c in played.plan.conversations if c.conversation_id == key[0]).turns
        assert record.num_output_tokens == turn[key[1]].num_output_tokens


def write_jsonl(folder: Path, *items: object) -> str:
    (folder / "trace.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n")
    return "trace.jsonl"  # beside the workload file


def said(role: str, content: object = "a b c d e f g h", **more: object) -> dict[str, object]:
    return {"role": role, "content": content} | more


CALL = {"id": "x", "type": "function", "function": {"name": "add", "arguments": "{}"}}
AGENT = {
    "tools": [{"type": "function", "function": {"name": "add", "description": "adds"}}],
    "messages": [
        said("system"),
        said("user"),
        said("assistant", "let me", tool_calls=[CALL]),
        said("tool", tool_call_id="x", delay_s=0.2),
        said("assistant", "it is 4"),
        said("system", "be brief now", replaces=True),
        said("user", waits=True),
        said("assistant"),
    ],
    "branches": [
        {"after": 1, "messages": [said("user", "a sub agent asks"), said("assistant")]},
        {"after": 1, "history": False, "messages": [said("user", "a lone one"), said("assistant")]},
    ],
}


def test_openai_messages_with_tools_branches_and_system_prompts_of_turns(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path, AGENT, AGENT)
    played = play(tmp_path, {"trace": "messages", "path": path})
    assert len(played.records) == 2 * 5
    roles = sorted(tuple(asked["body"]["roles"]) for asked in played.truth)
    first = ("system", "user")
    assert roles == sorted(
        2
        * [
            first,
            (*first, "assistant", "tool"),
            (*first, "assistant", "tool", "assistant", "user"),
            (*first, "assistant", "user"),
            ("user",),
        ]
    )
    tools = [asked["body"].get("tools") for asked in played.truth]
    assert tools.count(None) == 2  # of the branches without a history
    assert {asked["body"].get("tool_choice") for asked in played.truth} == {"none", None}
    of = played.records
    result, question = of["c00000", 1], of["c00000", 0]
    assert question.done_at is not None and result.planned_at is not None
    assert abs(result.planned_at - question.done_at - 0.2) < 1e-6
    ends = [of[name].done_at for name in (("c00000", 1), ("c00001", 0), ("c00002", 0))]
    assert of["c00000", 2].planned_at == max(end for end in ends if end is not None)
    # the branch goes on from what its origin was asked and answered
    before = (question.num_prompt_tokens or 0) + (question.num_output_tokens or 0)
    own = 1 + 4 + 1  # <user>, its words, <assistant>
    assert of["c00001", 0].num_prompt_tokens == before + own


def test_messages_are_text_for_a_server_without_chat(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path, AGENT)
    played = play(tmp_path, {"trace": "messages", "path": path}, api="completions")
    assert len(played.records) == 5
    assert all(
        not asked["body"]["roles"] and "tools" not in asked["body"] for asked in played.truth
    )


def test_the_embedded_and_the_simulated_engine_are_asked_the_same_sessions(tmp_path: Path) -> None:
    """As token ids: branches, joins, tools and other system prompts make prompts of one length."""
    pools = {"kv_tokens": 2048, "swap_tokens": 8192}
    spec = {
        "name": "sources",
        "seed": 3,
        "conversations": {"trace": "messages", "path": write_jsonl(tmp_path, AGENT, AGENT)},
        "arrivals": {"process": "constant", "rate": 20.0},
        "users": {"all": {"share": 1.0, "slo": SLO}},
        "engines": {
            "embedded": {"kind": "fastswitch", "model": "tiny-llama", **pools},
            "simulated": {"kind": "simulated", "profile": "a10-llama3-8b", **pools},
        },
    }
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec))
    assert code == 0, out + err
    run = only_run(tmp_path)
    lengths = [
        {
            (each.conversation_id, each.turn): (each.num_prompt_tokens, each.num_output_tokens)
            for each in read_turns(trial.directory(run) / "turns.parquet")
        }
        for trial in Manifest.read(run).trials
    ]
    assert lengths[0] == lengths[1]
    assert len(lengths[0]) == 2 * 5
    assert all(None not in each for each in lengths[0].values())


def test_sharegpts_system_prompts_are_sent(tmp_path: Path) -> None:
    pairs = [("system", "be kind"), ("human", "what is up"), ("gpt", "the sky"), ("human", "and?")]
    messages = [{"from": who, "value": words} for who, words in [*pairs, ("gpt", "down")]]
    (tmp_path / "s.json").write_text(json.dumps([{"conversations": messages}] * 2))
    played = play(tmp_path, {"trace": "sharegpt-json", "path": "s.json"})
    assert [asked["body"]["roles"][:2] for asked in played.truth] == [["system", "user"]] * 4
    assert played.records["c00000", 0].num_prompt_tokens == played.num_opening + 3 + 2 + 3


def test_a_bailian_trace_shares_blocks_and_branches(tmp_path: Path) -> None:
    def line(chat: int, at: float, size: int, parent: int = -1, ids: object = ()) -> dict[str, Any]:
        return {
            "chat_id": chat,
            "parent_chat_id": parent,
            "timestamp": at,
            "input_length": size,
            "output_length": 4,
            "hash_ids": list(ids),  # type: ignore[call-overload]
        }

    path = write_jsonl(
        tmp_path,
        line(1, 0.0, 160, ids=range(10)),
        line(2, 0.1, 160, ids=range(10)),
        line(3, 0.3, 200, parent=1),
        line(4, 0.4, 210, parent=1),
    )
    played = play(
        tmp_path,
        {"trace": "bailian", "path": path},
        api="completions",
        arrivals={"process": "trace"},
        think_time={"distribution": "trace"},
    )
    of = played.records
    assert [each.conversation_id for each in played.plan.conversations] == [
        f"c{number:05d}" for number in range(3)
    ]
    assert {name: each.num_prompt_tokens for name, each in of.items()} == {
        ("c00000", 0): played.num_opening + 160,
        ("c00000", 1): played.num_opening + 200,
        ("c00001", 0): played.num_opening + 210,
        ("c00002", 0): played.num_opening + 160,
    }
    assert (of["c00002", 0].num_cached_tokens or 0) >= 150  # what the original shared
    assert (of["c00001", 0].num_cached_tokens or 0) >= 160  # what it goes on from


def test_a_replayed_trace_in_steps_for_a_duration(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:17:{second:02d}+01:00, 12 ,3\n" for second in range(60))
    header = " TIMESTAMP , ContextTokens, GeneratedTokens\n\n"
    (tmp_path / "azure.csv").write_text("\ufeff" + header + rows)
    steps = [{"rate": 5, "duration": "1s"}, {"rate": 20, "duration": "1s"}]
    played = play(
        tmp_path,
        {"trace": "azure", "path": "azure.csv"},
        arrivals={"process": "steps", "steps": steps},
    )
    starts = [each.start_at_s for each in played.plan.conversations]
    assert 10 <= len(starts) <= 45 and starts[-1] < 2
    assert len(played.records) == len(starts)
    run = only_run(tmp_path)
    assert "Tails while the rate changes" in (run / "report.html").read_text()
