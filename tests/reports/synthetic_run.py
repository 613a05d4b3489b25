"""A whole run directory made up from a seed, written by the real plan, record and step-log code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from suite.records.run_directory import Counts, DriverQuality, Manifest, Trial
from suite.records.turn_records import TurnRecord
from tests.reports.synthetic_logs import (
    Behaviour,
    make_requests,
    make_steps,
    make_transfers,
)
from tests.turn_files import write_turns
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass

CLASSES = (
    ("interactive", 0.5, Slo(ttft_s=1.0, tbt_s=0.2, tbt_percentile=0.99, attainment_ratio=0.9)),
    ("standard", 0.3, Slo(ttft_s=3.0, tbt_s=0.3, tbt_percentile=0.99, attainment_ratio=0.9)),
    ("batch", 0.2, Slo(ttft_s=10.0, tbt_s=1.0, tbt_percentile=0.99, attainment_ratio=0.8)),
)


FAST = Behaviour(ttft_s=0.12, stall_ratio=0.001, stall_s=0.25, blocks_per_copy=12)
SLOW = Behaviour(ttft_s=0.35, stall_ratio=0.006, stall_s=1.2)


def make_plan(*, num_conversations: int = 60, seed: int = 7) -> Plan:
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.exponential(1.0, num_conversations))
    names = [name for name, _, _ in CLASSES]
    shares = [share for _, share, _ in CLASSES]
    conversations = []
    for index in range(num_conversations):
        turns = tuple(
            Turn(
                new_prompt_token_ids=rng.integers(0, 500, rng.integers(5, 200), dtype=np.int32),
                prompt_text=None,
                num_output_tokens=int(rng.integers(8, 160)),
                think_time_s=0.0 if number == 0 else float(rng.lognormal(0.5, 0.8)),
            )
            for number in range(1 + rng.geometric(0.3))
        )
        user = index % max(1, num_conversations * 2 // 3)
        conversations.append(
            Conversation(
                conversation_id=f"c{index:04d}",
                user_id=f"u{user:04d}",
                user_class=str(np.random.default_rng(user).choice(names, p=shares)),
                start_at_s=float(starts[index]),
                turns=turns,
            )
        )
    return Plan(
        name="synthetic",
        seed=seed,
        user_classes=tuple(
            UserClass(name=name, share_ratio=share, slo=slo) for name, share, slo in CLASSES
        ),
        conversations=tuple(conversations),
        closed_concurrency=None,
        priorities=None,
    )


def make_records(plan: Plan, behaviour: Behaviour, *, seed: int) -> list[TurnRecord]:
    rng = np.random.default_rng(seed)
    records = []
    for conversation in plan.conversations:
        at, history = conversation.start_at_s, 0
        for number, turn in enumerate(conversation.turns):
            scheduled_at = at + turn.think_time_s
            record = _record(
                rng,
                conversation,
                number,
                scheduled_at=scheduled_at,
                history=history,
                behaviour=behaviour,
            )
            at = record.done_at or scheduled_at
            history = (record.num_prompt_tokens or 0) + turn.num_output_tokens
            if rng.random() >= behaviour.lost_ratio:
                records.append(record)
    return records


def _record(
    rng: np.random.Generator,
    conversation: Conversation,
    number: int,
    *,
    scheduled_at: float,
    history: int,
    behaviour: Behaviour,
) -> TurnRecord:
    turn = conversation.turns[number]
    sent_at = scheduled_at + float(rng.gamma(2.0, 0.0002))
    busy = 1.0 + 2.0 * np.exp(-(((scheduled_at - 35.0) / 12.0) ** 2))
    num_chunks = turn.num_output_tokens
    gaps = rng.gamma(20.0, behaviour.gap_s / 20.0, num_chunks)
    stalls = rng.random(num_chunks) < behaviour.stall_ratio * busy
    gaps[stalls] += rng.lognormal(np.log(behaviour.stall_s), 0.6, int(stalls.sum()))
    gaps[0] = rng.lognormal(np.log(behaviour.ttft_s * busy), 0.7)
    token_at = sent_at + np.cumsum(gaps)
    has_failed = rng.random() < behaviour.fail_ratio
    if has_failed:
        token_at = token_at[: num_chunks // 2]
    new = len(turn.new_prompt_token_ids)
    return TurnRecord(
        conversation_id=conversation.conversation_id,
        turn=number,
        user_id=conversation.user_id,
        user_class=conversation.user_class,
        priority=None,
        planned_output_tokens=turn.num_output_tokens,
        scheduled_at=scheduled_at,
        sent_at=sent_at,
        token_at=tuple(token_at.tolist()),
        tokens_per_chunk=(1,) * len(token_at),
        done_at=float(token_at[-1]) + 0.0005,
        num_prompt_tokens=history + new,
        num_cached_tokens=history,
        num_output_tokens=len(token_at),
        num_coalesced=0,
        time_source="kernel",
        finish_reason=None if has_failed else "length",
        error="connection closed by the server" if has_failed else None,
    )


def write_run(
    run: Path,
    engines: dict[str, Behaviour],
    *,
    plan: Plan | None = None,
    repeats: int = 2,
    gates: tuple[str, ...] = (),
    baseline: str | None = None,
) -> Path:
    plan = plan or make_plan()
    run.mkdir(parents=True, exist_ok=True)
    plan.write(run / "plan.parquet")
    trials = [
        _write_trial(run, plan, name, behaviour, repeat=repeat, seed=100 * index + repeat)
        for repeat in range(1, repeats + 1)
        for index, (name, behaviour) in enumerate(engines.items())
    ]
    make_manifest(
        plan, list(engines), trials, repeats=repeats, gates=gates, baseline=baseline
    ).write(run)
    return run


def _write_trial(
    run: Path, plan: Plan, name: str, behaviour: Behaviour, *, repeat: int, seed: int
) -> Trial:
    records = make_records(plan, behaviour, seed=seed)
    trial = make_trial(plan, records, name, repeat)
    directory = trial.directory(run)
    directory.mkdir(parents=True)
    write_turns(directory / "turns.parquet", records, started_at_monotonic_s=1000.0)
    if behaviour.has_step_log:
        steps = make_steps(records, behaviour, seed=seed)
        pq.write_table(steps, directory / "steps.parquet")
        pq.write_table(make_requests(records, behaviour), directory / "requests.parquet")
        pq.write_table(make_transfers(steps, behaviour), directory / "transfers.parquet")
    return trial


def make_trial(plan: Plan, records: list[TurnRecord], name: str, repeat: int) -> Trial:
    planned = plan.num_turns
    return Trial(
        engine=name,
        repeat=repeat,
        status="complete",
        note=None,
        started_at_monotonic_s=1000.0,
        duration_s=max((record.done_at or 0.0 for record in records), default=0.0),
        counts=Counts(
            planned=planned,
            recorded=len(records),
            failed=sum(record.error is not None for record in records),
            lost=planned - len(records),
        ),
        driver=DriverQuality(
            num_workers=1,
            time_source="kernel",
            max_cpu_ratio=0.12,
            lag_p99_s=0.0011,
            coalesced_ratio=0.0,
            is_valid=True,
            warnings=[],
        ),
    )


def make_manifest(
    plan: Plan,
    engines: list[str],
    trials: list[Trial],
    *,
    repeats: int = 1,
    gates: tuple[str, ...] = (),
    baseline: str | None = None,
) -> Manifest:
    return Manifest(
        name=plan.name,
        created_at="2025-03-01T12:00:00Z",
        plan_digest=plan.digest,
        seed=plan.seed,
        workload={"name": plan.name, "seed": plan.seed, "conversations": {"count": 60}},
        engines={name: {"kind": "fastswitch", "kv_tokens": 8192} for name in engines},
        baseline=baseline,
        gates=list(gates),
        repeats=repeats,
        versions={"fsbench": "0.1.0", "python": "3.11.2"},
        machine={"cpu": "Example CPU", "num_cores": 2, "memory_bytes": 8 * 2**30},
        trials=trials,
    )
