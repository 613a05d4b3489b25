"""Every number against `naive_metrics`, which was written from docs/metrics.md alone: on made-up
records with every awkward turn, and on a run in virtual time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.judging.metrics_file import measure
from suite.records.turn_records import TurnRecord
from tests.end_to_end.command import REPOSITORY, only_run
from tests.reports.synthetic_run import make_manifest, make_trial
from tests.suite.measuring.naive_metrics import (
    LATENCIES,
    QUANTILES,
    NaiveRun,
    percentile,
    slowdowns,
)
from tests.turn_files import write_turns
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass

CLASSES = (  # ttft, tbt, the percentile of the gaps, attainment, longest gap
    ("quick", 0.5, 0.25, 0.9, 0.75, None),
    ("calm", 2.0, 0.5, 0.5, 0.5, 0.5),
    ("patient", 30.0, 9.0, 1.0, 1.0, 9.0),
    ("steady", 1.0, 0.375, 0.75, 0.5, 0.375),
)
AWKWARD = (
    "several tokens a chunk",
    "one chunk",
    "one token",
    "no token",
    "nobody counted",
    "failed midway",
    "failed before the first token",
    "never sent",
    "lost",
)


def awkward_plan(*, num_users: int, num_conversations: int, seed: int) -> Plan:
    rng = np.random.default_rng(seed)
    conversations = []
    for number in range(num_conversations):
        user = number % num_users
        turns = tuple(
            Turn(
                new_prompt_token_ids=np.arange(rng.integers(1, 40), dtype=np.int32),
                prompt_text=None,
                num_output_tokens=int(rng.integers(1, 15)),
                think_time_s=0.0,
            )
            for _ in range(rng.integers(1, 6))
        )
        conversations.append(
            Conversation(
                conversation_id=f"c{number:03d}",
                user_id=f"u{user}",
                user_class=CLASSES[user % len(CLASSES)][0],
                start_at_s=0.75 * number,
                turns=turns,
            )
        )
    classes = [
        UserClass(
            name=name,
            share_ratio=1 / len(CLASSES),
            slo=Slo(
                ttft_s=ttft,
                tbt_s=tbt,
                tbt_percentile=q,
                attainment_ratio=attainment,
                max_gap_s=max_gap,
            ),
        )
        for name, ttft, tbt, q, attainment, max_gap in CLASSES
    ]
    return Plan(
        name="awkward",
        seed=seed,
        user_classes=tuple(classes),
        conversations=tuple(conversations),
        closed_concurrency=None,
        priorities=None,
    )


def awkward_records(plan: Plan, *, awkward_ratio: float, seed: int) -> list[TurnRecord]:
    """Instants are multiples of 1/8 s, exact in binary: many are equal, many lie on a bound."""
    rng = np.random.default_rng(seed)
    records = []
    for conversation in plan.conversations:
        at, history = conversation.start_at_s, 0
        for number, turn in enumerate(conversation.turns):
            gaps = rng.integers(1, 5, turn.num_output_tokens) / 8.0
            token_at = at + 0.125 + np.cumsum(gaps)
            history += turn.new_prompt_token_ids.size
            record = TurnRecord(
                conversation_id=conversation.conversation_id,
                turn=number,
                user_id=conversation.user_id,
                user_class=conversation.user_class,
                priority=None,
                planned_output_tokens=turn.num_output_tokens,
                scheduled_at=at,
                sent_at=at + 0.125,
                token_at=tuple(token_at.tolist()),
                tokens_per_chunk=(1,) * len(gaps),
                done_at=float(token_at[-1]),
                num_prompt_tokens=history,
                num_cached_tokens=history - turn.new_prompt_token_ids.size if number % 3 else None,
                num_output_tokens=len(gaps),
                num_coalesced=0,
                time_source="kernel",
                finish_reason="length",
                error=None,
            )
            history += turn.num_output_tokens
            at = float(token_at[-1]) + rng.integers(0, 8) / 8.0
            if rng.random() < awkward_ratio:
                record = made_awkward(record, str(rng.choice(AWKWARD)))
            records += [] if record.finish_reason == "lost" else [record]
    return records


def made_awkward(record: TurnRecord, how: str) -> TurnRecord:
    failed = {"error": "reset", "finish_reason": None, "num_prompt_tokens": None}
    half = len(record.token_at) // 2
    nothing = {"token_at": (), "tokens_per_chunk": ()}
    changes: dict[str, dict[str, Any]] = {
        "several tokens a chunk": {
            "tokens_per_chunk": tuple(1 + n % 3 for n in range(len(record.token_at))),
            "num_output_tokens": sum(1 + n % 3 for n in range(len(record.token_at))),
        },
        "one chunk": {
            "token_at": record.token_at[-1:],
            "tokens_per_chunk": (len(record.token_at),),
        },
        "one token": {
            "token_at": record.token_at[-1:],
            "tokens_per_chunk": (1,),
            "num_output_tokens": 1,
        },
        "no token": {**nothing, "num_output_tokens": 0, "finish_reason": "stop"},
        "nobody counted": {"num_output_tokens": None},
        "failed midway": {
            **failed,
            "token_at": record.token_at[:half],
            "tokens_per_chunk": (1,) * half,
            "num_output_tokens": None,
        },
        "failed before the first token": {**failed, **nothing, "num_output_tokens": None},
        "never sent": {
            **failed,
            **nothing,
            "num_output_tokens": None,
            "sent_at": None,
            "done_at": record.scheduled_at,
        },
        "lost": {"finish_reason": "lost"},
    }
    return replace(record, **changes[how])


def awkward_run(
    path: Path, *, num_users: int, awkward_ratio: float, num_conversations: int = 30
) -> Path:
    """Two repeats of one engine."""
    plan = awkward_plan(num_users=num_users, num_conversations=num_conversations, seed=3)
    plan.write(path / "plan.parquet")
    trials = []
    for repeat in (1, 2):
        records = awkward_records(plan, awkward_ratio=awkward_ratio, seed=repeat)
        trials.append(make_trial(plan, records, "mine", repeat))
        folder = trials[-1].directory(path)
        folder.mkdir(parents=True)
        write_turns(folder / "turns.parquet", records, started_at_monotonic_s=0.0)
    make_manifest(plan, ["mine"], trials, repeats=2).write(path)
    return path


def assert_same(naive: Mapping[str, Any], real: Mapping[str, Any], where: str) -> None:
    for key, value in naive.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            assert real[key] is None, (where, key, real[key])
        else:
            assert real[key] == pytest.approx(value, rel=1e-9, abs=1e-9), (where, key)


def summary(samples: list[float]) -> dict[str, float | None]:
    return {
        "count": len(samples),
        "mean": float(np.mean(samples)) if samples else None,
        "max": max(samples, default=None),
        **{name: percentile(samples, name) for name in QUANTILES},
    }


def assert_agrees(run: Path, engine: str, real: Mapping[str, Any]) -> NaiveRun:
    naive = NaiveRun(run, engine)
    for name in LATENCIES:
        assert_same(summary(naive.samples(name)), real[name], name)
        for user_class, turns in naive.turns.groupby("user_class"):
            found = real["by_class"][user_class][name]
            assert_same(summary(naive.samples(name, turns)), found, f"{name} {user_class}")
    for number, turns in naive.turns[naive.turns["recorded"]].groupby("turn"):
        for name in ("ttft_s", "tbt_s"):
            found = real["by_turn"][str(number)][name]
            assert_same(summary(naive.samples(name, turns)), found, f"{name} turn {number}")
    for group, numbers in naive.groups().items():
        assert_same(numbers, real[group], group)
    for user_class in real["by_class"]:
        for group, numbers in naive.groups(user_class).items():
            assert_same(numbers, real[group]["by_class"][user_class], f"{group} {user_class}")
    users = dict(list(naive.turns.groupby("user")))
    for found in real["users"]["worst"]:
        turns = users[found["repeat"], found["user_id"]]
        samples = {name: naive.samples(f"{name}_s", turns) for name in ("ttft", "tbt", "e2e")}
        means = {f"{name}_mean_s": summary(each)["mean"] for name, each in samples.items()}
        assert_same(means, found, f"user {found['user_id']}")
    return naive


@pytest.mark.parametrize(("num_users", "awkward_ratio"), [(10, 0.5), (30, 0.0), (1, 0.3), (3, 1.0)])
def test_awkward_records_give_the_numbers_that_the_document_says(
    tmp_path: Path, num_users: int, awkward_ratio: float
) -> None:
    run = awkward_run(tmp_path, num_users=num_users, awkward_ratio=awkward_ratio)
    naive = assert_agrees(run, "mine", measure(run)["engines"]["mine"])
    assert naive.turns["recorded"].all() == (awkward_ratio == 0.0)


def test_a_virtual_run_with_cuts_and_its_solo_run_give_the_documents_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ("conversations.count=14", "arrivals.rate=3", "measure={warm_up: 2s, drain: 0.1}")
    result = CliRunner().invoke(
        app,
        ["run", str(REPOSITORY / "workloads" / "ci.yaml"), "--solo"]
        + [part for change in (*changes, "gates=[]") for part in ("--set", change)],
    )
    assert result.exit_code == 0, result.output
    run = only_run(tmp_path)
    for engine, real in json.loads((run / "metrics.json").read_text())["engines"].items():
        naive = assert_agrees(run, engine, real)
        assert len(naive.turns) < real["counts"]["planned"]  # some were cut
        alone = list(slowdowns(naive, NaiveRun(run / "solo", engine)))
        assert_same(
            {
                "slowdown_mean": float(np.mean(alone)),
                "slowdown_max": max(alone),
                "slowdown_p50": percentile(alone, "p50"),
                "slowdown_p99": percentile(alone, "p99"),
            },
            real["fairness"],
            "slowdown",
        )
