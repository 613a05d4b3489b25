"""The logs of a made-up engine: how it serves, as steps, requests and transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from engines.arrow_log import record_batch, schema_of
from engines.core.device import Direction
from engines.core.request import FinishReason, Request
from engines.core.request_log import RequestRecord, Span, State, record_of
from engines.core.sampling_params import SamplingParams
from engines.core.step_log import StepRecord
from engines.core.transfer_log import TransferRecord, Waited
from suite.records.turn_records import TurnRecord

NEVER = (  # what no step of it does
    "num_arriving",
    "num_recompute_preemptions",
    "num_async_swap_ins",
    "num_contaminated_blocks",
    "num_new_groups",
    "num_grown_groups",
    "num_group_splits",
    "num_recomputed_tokens",
    "num_priority_updates",
    "num_finished",
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


def make_steps(records: list[TurnRecord], behaviour: Behaviour, *, seed: int) -> pa.Table:
    """One step after the other; the pools follow how many turns are under way."""
    rng = np.random.default_rng(seed)
    end = max((record.done_at or 0.0 for record in records), default=0.0)
    rows: list[StepRecord] = []
    at, blocks, host = 0.0, 0.0, 0.0
    starts = np.sort([record.scheduled_at for record in records])
    ends = np.sort([record.done_at or record.scheduled_at for record in records])
    while at < end:
        active = int(np.searchsorted(starts, at, "right") - np.searchsorted(ends, at, "right"))
        blocks += 0.1 * (min(500.0, active * 45.0) - blocks)
        host += 0.02 * (min(4000.0, max(0.0, active * 200.0 - 500.0)) - host)
        is_preempting = active > 6 and rng.random() < 0.1
        moved = int(rng.integers(8, 40)) if is_preempting else 0
        pools = {"num_used_device_blocks": int(blocks), "num_used_host_blocks": int(host)}
        rows.append(_step(behaviour, pools, step=len(rows), at=at, active=active, moved=moved))
        at += rows[-1].duration_s
    return _table(StepRecord, rows)


def _step(
    behaviour: Behaviour, pools: dict[str, int], *, step: int, at: float, active: int, moved: int
) -> StepRecord:
    """`moved`: blocks out, and as many in; none without a preemption."""
    is_preempting = moved > 0
    runs = -(-moved // behaviour.blocks_per_copy)
    stall_s = behaviour.stall_s / 4 if is_preempting else 0.0
    return StepRecord(
        step=step,
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
        num_swapped=int(is_preempting),
        num_device_blocks=512,
        num_host_blocks=5120,
        num_preemptions=int(is_preempting),
        num_swap_out_blocks=moved,
        num_swap_in_blocks=moved,
        num_copy_runs=2 * runs,
        num_copies=16 * runs,
        num_copied_bytes=moved * 32768,
        num_conflicts=int(is_preempting and step % 2),
        num_sync_swap_ins=int(is_preempting),
        num_reused_tokens=30,
        **pools,
        **dict.fromkeys(NEVER, 0),
    )


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
