"""A plan played through the engine core in virtual time: arrivals, think times and SLOs included.

The same core as behind the server, the plan's own arrivals and priorities, the suite's own metrics;
only the device is modelled. Nothing waits for a wall clock, and the same plan gives the same
records to the bit. The engine's bookkeeping costs no virtual time (bookkeeping.py measures it).
"""

from __future__ import annotations

import heapq
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.virtual_device import TOKEN_ID, CostModel, VirtualDevice
from engines.api import PriorityUpdates
from engines.fastswitch.engine import Engine
from engines.fastswitch.request import Request, RequestOutput, SamplingParams
from engines.fastswitch.settings import CoreSettings
from engines.fastswitch.step_log import StepRecord
from suite.attainment import attaining_turns, judge_users, planned_users
from suite.latencies import samples, throughput
from suite.records import TurnRecord, write_turns
from suite.statistics import summarise
from suite.turn_table import TurnTable, read_turns
from workloads.plan import Conversation, Plan


@dataclass(slots=True, kw_only=True)
class Asked:
    """A turn on its way through the engine."""

    conversation: int  # its place in the plan
    turn: int
    scheduled_at: float
    request: Request
    token_at: list[float]


class Player:
    """One plan, one engine, from the first arrival to the last token."""

    def __init__(self, plan: Plan, core: CoreSettings, cost: CostModel) -> None:
        assert plan.closed_concurrency is None, "only planned instants are played"
        self._plan = plan
        self._device = VirtualDevice(
            cost,
            block_size=core.block_size,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
        )
        self.steps: list[StepRecord] = []
        self._engine = Engine(
            core,
            self._device,
            clock=self._device.clock,
            priorities=_priority_updates(plan),
            on_step=self.steps.append,
        )
        self._due = [(each.start_at_s, k, 0) for k, each in enumerate(plan.conversations)]
        heapq.heapify(self._due)
        self._histories: list[list[int]] = [[] for _ in plan.conversations]
        self._asked: dict[str, Asked] = {}
        self.records: list[TurnRecord] = []

    def play(self) -> None:
        while self._due or self._engine.has_work:
            if not self._engine.has_work:
                self._device.now = max(self._device.now, self._due[0][0])
                self._engine.poll()
            while self._due and self._due[0][0] <= self._device.now:
                self._ask(*heapq.heappop(self._due))
            for output in self._engine.step():
                self._receive(output)

    def _ask(self, scheduled_at: float, k: int, turn_number: int) -> None:
        conversation = self._plan.conversations[k]
        turn = conversation.turns[turn_number]
        prompt = self._histories[k] + turn.new_prompt_token_ids.tolist()
        request = Request(
            request_id=f"{conversation.conversation_id}/{turn_number}",
            prompt_token_ids=prompt,
            sampling=SamplingParams(max_tokens=turn.num_output_tokens, ignore_eos=True),
            arrived_at=scheduled_at,
            conversation_id=conversation.conversation_id,
        )
        self._asked[request.request_id] = Asked(
            conversation=k,
            turn=turn_number,
            scheduled_at=scheduled_at,
            request=request,
            token_at=[],
        )
        self._engine.submit(request)

    def _receive(self, output: RequestOutput) -> None:
        asked = self._asked[output.request_id]
        asked.token_at.append(self._device.now)
        if output.finish_reason is None:
            return
        del self._asked[output.request_id]
        conversation = self._plan.conversations[asked.conversation]
        self.records.append(_record(asked, conversation, output))
        following = asked.turn + 1
        if following < len(conversation.turns):
            request = asked.request
            answer = [TOKEN_ID] * len(request.output_token_ids)
            self._histories[asked.conversation] = request.prompt_token_ids + answer
            due_at = self._device.now + conversation.turns[following].think_time_s
            heapq.heappush(self._due, (due_at, asked.conversation, following))


def numbers(plan: Plan, player: Player) -> dict[str, Any]:
    """The suite's metrics of a played plan, and what the engine's log adds up to. Seconds."""
    turns = _turn_table(player.records)
    assert len(turns) == plan.num_turns, f"{len(turns)} of {plan.num_turns} turns ended"
    users = judge_users(planned_users(plan), turns, attaining_turns(turns, plan.user_classes), [1])
    everything = np.ones(len(turns), dtype=bool)
    ttft = summarise(samples(turns, everything, "first_token_delay_s"))
    tbt = summarise(samples(turns, everything, "tbt_s"))
    steps = player.steps
    duration_s = sum(step.duration_s for step in steps)
    num_runs = sum(step.num_copy_runs for step in steps)
    num_blocks = sum(step.num_swap_out_blocks + step.num_swap_in_blocks for step in steps)
    return {
        "ttft_p50_s": ttft.percentiles["p50"],
        "ttft_p99_s": ttft.percentiles["p99"],
        "ttft_p999_s": ttft.percentiles["p999"],
        "ttft_max_s": ttft.maximum,
        "tbt_p50_s": tbt.percentiles["p50"],
        "tbt_p99_s": tbt.percentiles["p99"],
        "tbt_p999_s": tbt.percentiles["p999"],
        "tbt_max_s": tbt.maximum,
        "output_tokens_per_s": throughput(turns, [1])["output_tokens_per_s"],
        "users_within_slo_ratio": float(users.is_within_slo.mean()),
        "turn_attainment_ratio": float(users.num_attained_turns.sum() / plan.num_turns),
        "num_steps": len(steps),
        "num_turns": len(turns),
        "num_preemptions": sum(step.num_preemptions for step in steps),
        "num_recompute_preemptions": sum(step.num_recompute_preemptions for step in steps),
        "num_swapped_blocks": num_blocks,
        "blocks_per_run": num_blocks / num_runs if num_runs else None,
        "stall_ratio": sum(step.stall_s for step in steps) / duration_s,
        "num_conflicts": sum(step.num_conflicts for step in steps),
        "num_sync_swap_ins": sum(step.num_sync_swap_ins for step in steps),
        "num_async_swap_ins": sum(step.num_async_swap_ins for step in steps),
        "num_contaminated_blocks": sum(step.num_contaminated_blocks for step in steps),
        "num_prefill_tokens": sum(step.num_prefill_tokens for step in steps),
        "num_recomputed_tokens": sum(step.num_recomputed_tokens for step in steps),
        "num_reused_tokens": sum(step.num_reused_tokens for step in steps),
        "mean_step_s": duration_s / len(steps),
        "mean_num_running": sum(step.num_running for step in steps) / len(steps),
    }


def _turn_table(records: list[TurnRecord]) -> TurnTable:
    """By way of the file that a run leaves, so that the suite reads what it always reads."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_turns(directory / "turns.parquet", records, started_at_monotonic_s=0.0)
        return read_turns([(1, directory)])


def _record(asked: Asked, conversation: Conversation, output: RequestOutput) -> TurnRecord:
    return TurnRecord(
        conversation_id=conversation.conversation_id,
        turn=asked.turn,
        user_id=conversation.user_id,
        user_class=conversation.user_class,
        priority=None,
        planned_output_tokens=conversation.turns[asked.turn].num_output_tokens,
        scheduled_at=asked.scheduled_at,
        sent_at=asked.scheduled_at,
        token_at=tuple(asked.token_at),
        tokens_per_chunk=(1,) * len(asked.token_at),
        done_at=asked.token_at[-1],
        num_prompt_tokens=output.num_prompt_tokens,
        num_cached_tokens=output.num_cached_tokens,
        num_output_tokens=len(asked.token_at),
        num_coalesced=0,
        time_source="user",
        finish_reason=str(output.finish_reason),
        error=None,
    )


def _priority_updates(plan: Plan) -> PriorityUpdates | None:
    trace = plan.priorities
    if trace is None:
        return None
    return PriorityUpdates(
        update_frequency=trace.update_frequency,
        conversation_ids=[each.conversation_id for each in plan.conversations],
        levels=trace.levels,
    )
