"""A whole run directory made up from a seed, written by the real plan, record and step-log code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engines.arrow_log import record_batch, schema_of
from engines.fastswitch.device import Direction
from engines.fastswitch.request import FinishReason, Request, SamplingParams
from engines.fastswitch.request_log import RequestRecord, Span, State, record_of
from engines.fastswitch.step_log import StepRecord
from engines.fastswitch.transfer_log import TransferRecord, Waited
from suite.records import TurnRecord, write_turns
from suite.run_directory import Counts, DriverQuality, Manifest, Part
from workloads.plan import Conversation, Plan, Slo, Turn, UserClass

CLASSES = (
    ("interactive", 0.5, Slo(ttft_s=1.0, tbt_s=0.2, tbt_percentile=0.99, attainment_ratio=0.9)),
    ("standard", 0.3, Slo(ttft_s=3.0, tbt_s=0.3, tbt_percentile=0.99, attainment_ratio=0.9)),
    ("batch", 0.2, Slo(ttft_s=10.0, tbt_s=1.0, tbt_percentile=0.99, attainment_ratio=0.8)),
)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How one made-up engine serves."""

    ttft_s: float = 0.15
    gap_s: float = 0.035
    stall_ratio: float = 0.002  # of the gaps
    stall_s: float = 0.8
    fail_ratio: float = 0.0
    lost_ratio: float = 0.0
    blocks_per_copy: int = 1
    has_step_log: bool = True


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


def make_steps(records: list[TurnRecord], behaviour: Behaviour, *, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    end = max((record.done_at or 0.0 for record in records), default=0.0)
    rows, at, blocks, host = [], 0.0, 0.0, 0.0
    starts = np.sort([record.scheduled_at for record in records])
    ends = np.sort([record.done_at or record.scheduled_at for record in records])
    while at < end:
        active = int(np.searchsorted(starts, at, "right") - np.searchsorted(ends, at, "right"))
        blocks += 0.1 * (min(500.0, active * 45.0) - blocks)
        host += 0.02 * (min(4000.0, max(0.0, active * 200.0 - 500.0)) - host)
        is_preempting = active > 6 and rng.random() < 0.1
        moved = int(rng.integers(8, 40)) if is_preempting else 0
        runs = -(-moved // behaviour.blocks_per_copy)
        stall_s = behaviour.stall_s / 4 if is_preempting else 0.0
        rows.append(
            StepRecord(
                step=len(rows),
                at=at,
                execute_at=at + stall_s + 0.0004,
                duration_s=behaviour.gap_s + stall_s,
                bookkeeping_s=0.0004,
                stall_s=stall_s,
                execute_s=behaviour.gap_s - 0.0004,
                num_decode_tokens=active,
                num_prefill_tokens=20,
                num_running=active,
                num_waiting=max(0, active - 10),
                num_swapped=1 if is_preempting else 0,
                num_arriving=0,
                num_device_blocks=512,
                num_used_device_blocks=int(blocks),
                num_host_blocks=5120,
                num_used_host_blocks=int(host),
                num_preemptions=int(is_preempting),
                num_recompute_preemptions=0,
                num_swap_out_blocks=moved,
                num_swap_in_blocks=moved,
                num_copy_runs=2 * runs,
                num_copies=16 * runs,
                num_copied_bytes=moved * 32768,
                num_conflicts=int(is_preempting and len(rows) % 2),
                num_sync_swap_ins=int(is_preempting),
                num_async_swap_ins=0,
                num_contaminated_blocks=0,
                num_new_groups=0,
                num_grown_groups=0,
                num_group_splits=0,
                num_reused_tokens=30,
                num_recomputed_tokens=0,
                num_priority_updates=0,
                num_finished=0,
            )
        )
        at += behaviour.gap_s + stall_s
    return _table(StepRecord, rows)


def make_requests(records: list[TurnRecord], behaviour: Behaviour) -> pa.Table:
    """Each turn's time: a fifth queued, then in the batch, sent away where its gaps are longest."""
    rows = []
    for record in records:
        if record.error is not None or not record.token_at:
            continue
        arrived_at, finished_at = record.scheduled_at, record.token_at[-1]
        gaps = np.diff([arrived_at, *record.token_at])
        cut = arrived_at + 0.2 * gaps[0]
        away = float(np.clip(gaps.max() - behaviour.gap_s, 0.0, (finished_at - cut) / 3))
        edges = [arrived_at, cut, cut + away, cut + 1.2 * away, cut + 1.5 * away, finished_at]
        states = [State.QUEUED, State.PREEMPTED, State.SWAP_WAIT, State.STALLED, State.COMPUTING]
        spans = tuple(
            Span(state=state, began_at=edges[i], ended_at=edges[i + 1])
            for i, state in enumerate(states)
        )
        request = Request(
            request_id=f"{record.conversation_id}-{record.turn}",
            prompt_token_ids=[1] * (record.num_prompt_tokens or 0),
            sampling=SamplingParams(max_tokens=1),
            arrived_at=arrived_at,
            conversation_id=record.conversation_id,
            finish_reason=FinishReason.LENGTH,
        )
        first_token_at = record.token_at[0]
        rows.append(
            record_of(request, spans, first_token_at=first_token_at, finished_at=finished_at)
        )
    return _table(RequestRecord, rows)


def make_transfers(steps: pa.Table, behaviour: Behaviour) -> pa.Table:
    """One each way for every step that moved blocks, at 1 GB/s."""
    rows = []
    for step in steps.to_pylist():
        for direction in Direction:
            num_blocks = step[f"num_{direction}_blocks"]
            if not num_blocks:
                continue
            copied_at = step["at"] + num_blocks * 32768 / 2e9
            rows.append(
                TransferRecord(
                    direction=direction,
                    request_id="c0000-0",
                    conversation_id="c0000",
                    began_at=step["at"],
                    copying_at=step["at"],
                    copied_at=copied_at,
                    landed_at=step["at"] + step["stall_s"],
                    dispatch_s=0.0,
                    waited=Waited.BY_CHOICE,
                    waited_s=step["stall_s"] / 2,
                    num_blocks=num_blocks,
                    num_copy_runs=-(-num_blocks // behaviour.blocks_per_copy),
                    num_copies=step["num_copies"] // 2,
                    num_bytes=num_blocks * 32768 // 2,
                )
            )
    return _table(TransferRecord, rows)


def _table(record_type: type, rows: list[Any]) -> pa.Table:
    schema = schema_of(record_type)
    return pa.Table.from_batches([record_batch(rows, schema)] if rows else [], schema=schema)


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
    parts = [
        _write_part(run, plan, name, behaviour, repeat=repeat, seed=100 * index + repeat)
        for repeat in range(1, repeats + 1)
        for index, (name, behaviour) in enumerate(engines.items())
    ]
    make_manifest(
        plan, list(engines), parts, repeats=repeats, gates=gates, baseline=baseline
    ).write(run)
    return run


def _write_part(
    run: Path, plan: Plan, name: str, behaviour: Behaviour, *, repeat: int, seed: int
) -> Part:
    records = make_records(plan, behaviour, seed=seed)
    part = make_part(plan, records, name, repeat)
    directory = part.directory(run)
    directory.mkdir(parents=True)
    write_turns(directory / "turns.parquet", records, started_at_monotonic_s=1000.0)
    if behaviour.has_step_log:
        steps = make_steps(records, behaviour, seed=seed)
        pq.write_table(steps, directory / "steps.parquet")
        pq.write_table(make_requests(records, behaviour), directory / "requests.parquet")
        pq.write_table(make_transfers(steps, behaviour), directory / "transfers.parquet")
    return part


def make_part(plan: Plan, records: list[TurnRecord], name: str, repeat: int) -> Part:
    planned = plan.num_turns
    return Part(
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
    parts: list[Part],
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
        parts=parts,
    )
