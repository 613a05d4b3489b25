"""A plan played through the engine core on the wall clock, in this process, without a server."""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.api import PriorityUpdates
from engines.core.device import Device
from engines.core.engine import Engine
from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.core.settings import CoreSettings
from engines.core.step_log import StepRecord
from suite.statistics.summaries import summarise
from workloads.plan import Plan


@dataclass(slots=True, kw_only=True)
class Asked:
    """A turn on its way."""

    conversation: int
    turn: int
    due_at: float
    request: Request
    token_at: list[float] = field(default_factory=list)


class Player:
    """One plan through one engine, from the first arrival to the last token or the limit."""

    def __init__(self, plan: Plan, core: CoreSettings, device: Device) -> None:
        self.steps: list[StepRecord] = []
        self.turns: list[Asked] = []  # every turn that came due
        self._plan = plan
        self._engine = Engine(
            core,
            device,
            clock=time.monotonic,
            priorities=_priority_updates(plan),
            on_step=self.steps.append,
        )
        self._due = [(each.start_at_s, k, 0) for k, each in enumerate(plan.conversations)]
        heapq.heapify(self._due)
        self._histories: list[list[int]] = [[] for _ in plan.conversations]
        self._asked: dict[str, Asked] = {}
        self.began_at = self.ended_at = 0.0

    @property
    def num_unfinished(self) -> int:
        num_turns = sum(len(each.turns) for each in self._plan.conversations)
        return num_turns - (len(self.turns) - len(self._asked))

    def play(self, limit_s: float) -> None:
        self.began_at = time.monotonic()
        while self._due or self._engine.has_work:
            now_s = time.monotonic() - self.began_at
            if now_s > limit_s:
                break
            while self._due and self._due[0][0] <= now_s:
                self._ask(*heapq.heappop(self._due))
            if self._engine.has_work:
                self._step()
            else:
                self._engine.poll()
                time.sleep(min(0.001, max(0.0, self._due[0][0] - now_s)))
        self.ended_at = time.monotonic()
        for name in list(self._asked):
            self._engine.abort(name)
        while self._engine.has_flights:
            self._engine.poll()

    def _ask(self, due_s: float, k: int, turn_number: int) -> None:
        conversation = self._plan.conversations[k]
        turn = conversation.turns[turn_number]
        request = Request(
            request_id=f"{conversation.conversation_id}/{turn_number}",
            prompt_token_ids=self._histories[k] + turn.new_prompt_token_ids.tolist(),
            sampling=SamplingParams(max_tokens=turn.num_output_tokens, ignore_eos=True),
            arrived_at=self.began_at + due_s,
            conversation_id=conversation.conversation_id,
        )
        asked = Asked(
            conversation=k, turn=turn_number, due_at=self.began_at + due_s, request=request
        )
        self._asked[request.request_id] = asked
        self.turns.append(asked)
        self._engine.submit(request)

    def _step(self) -> None:
        outputs = self._engine.step()
        now = time.monotonic()
        for output in outputs:
            asked = self._asked[output.request_id]
            asked.token_at.append(now)
            if output.finish_reason is not None:
                del self._asked[output.request_id]
                self._follow(asked, now)

    def _follow(self, asked: Asked, now: float) -> None:
        turns = self._plan.conversations[asked.conversation].turns
        following = asked.turn + 1
        if following < len(turns):
            request = asked.request
            self._histories[asked.conversation] = (
                request.prompt_token_ids + request.output_token_ids
            )
            due_s = now - self.began_at + turns[following].think_time_s
            heapq.heappush(self._due, (due_s, asked.conversation, following))


def _priority_updates(plan: Plan) -> PriorityUpdates:
    assert plan.priorities is not None
    return PriorityUpdates(
        update_frequency=plan.priorities.update_frequency,
        conversation_ids=[each.conversation_id for each in plan.conversations],
        levels=plan.priorities.levels,
    )


def numbers(player: Player) -> dict[str, Any]:
    """Latencies, throughput and what the step log adds up to. Seconds."""
    first = [(t.token_at[0] if t.token_at else player.ended_at) - t.due_at for t in player.turns]
    gaps = [b - a for t in player.turns for a, b in itertools.pairwise(t.token_at)]
    ttft, tbt = summarise(np.array(first)), summarise(np.array(gaps))
    steps = player.steps
    duration_s = player.ended_at - player.began_at
    num_runs = sum(step.num_copy_runs for step in steps)
    num_blocks = sum(step.num_swap_out_blocks + step.num_swap_in_blocks for step in steps)
    return {
        "duration_s": duration_s,
        "num_turns": len(player.turns),
        "num_unfinished_turns": player.num_unfinished,
        **{f"ttft_{name}_s": value for name, value in ttft.percentiles.items()},
        "ttft_max_s": ttft.maximum,
        **{f"tbt_{name}_s": value for name, value in tbt.percentiles.items()},
        "tbt_max_s": tbt.maximum,
        "output_tokens_per_s": sum(len(turn.token_at) for turn in player.turns) / duration_s,
        "num_preemptions": sum(step.num_preemptions for step in steps),
        "num_recompute_preemptions": sum(step.num_recompute_preemptions for step in steps),
        "num_swapped_blocks": num_blocks,
        "blocks_per_run": num_blocks / num_runs if num_runs else None,
        "stall_ratio": sum(step.stall_s for step in steps) / duration_s,
        "bookkeeping_ratio": sum(step.bookkeeping_s for step in steps) / duration_s,
        "execute_ratio": sum(step.execute_s for step in steps) / duration_s,
        "mean_step_s": duration_s / len(steps),
        "mean_num_running": sum(step.num_running for step in steps) / len(steps),
    }
