"""vLLM's scheduler under a policy of the embedded engine: the same object, unchanged.

`--scheduler-cls fsbench_vllm.policy_scheduler.PolicyScheduler --scheduling-policy priority
--no-async-scheduling`, with this folder's parent and the project's `engines` on PYTHONPATH.
Environment: FSBENCH_POLICY, as a workload file's `policy`, in JSON; beside it what TraceScheduler
takes: the trace sets the priorities that `priority` goes by. A request says who asks and what
was promised in `vllm_xargs: {"conversation_id", "user", "user_class", "ttft_ms", "tbt_ms",
"tbt_percentile", "max_gap_ms"}`; all may be left out.

Before each iteration the policy's order becomes vLLM's priorities (a request's place in it), so
admission and vLLM's own preemption follow it; who must go for whom waits is the policy's word, by
vLLM's own means, recompute. What it says of a step's prefill bounds vLLM's token budget.
"""

from __future__ import annotations

import os
import time
from typing import Any

from pydantic import TypeAdapter
from vllm.v1.request import Request

from engines.core.policies.settings import PolicyChoice, PolicySettings
from engines.core.step_costs import StepCosts

from .compatibility import POLICY_NAMES
from .displacement import Holder, Newcomer
from .scheduler import TraceScheduler
from .seen import Seen


class PolicyScheduler(TraceScheduler):
    needed_names = POLICY_NAMES
    max_num_scheduled_tokens: int  # vLLM's

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: PolicySettings = TypeAdapter(PolicyChoice).validate_json(
            os.environ["FSBENCH_POLICY"]
        )
        self._costs = StepCosts()
        # It was written for the embedded engine's requests; Seen has the names that it reads.
        self._policy: Any = choice.build(self._costs)
        self._seen: dict[str, Seen] = {}
        self._unscheduled: dict[str, Seen] = {}  # of them, who never were
        self._num_seen = 0
        self._has_newcomers = False
        self._scheduled_at = 0.0

    def add_request(self, request: Request) -> None:
        if request.request_id not in self.requests:  # else one more part of a streamed prompt
            now = time.monotonic()
            self._num_seen += 1
            seen = Seen(
                request,
                serial=self._num_seen,
                arrived_at=now - max(0.0, time.time() - request.arrival_time),
                blocks_of=self._blocks_of,
            )
            self._seen[request.request_id] = self._unscheduled[request.request_id] = seen
            self._assign_level(seen)
            self._policy.submitted(seen, now)
            self._has_newcomers = True
        super().add_request(request)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._policy.max_prefill_tokens()
        budget = self.max_num_scheduled_tokens
        if bound is not None:
            num_decodes = sum(
                each.num_tokens - each.num_computed_tokens == 1 for each in self.running
            )
            self.max_num_scheduled_tokens = min(budget, num_decodes + max(1, bound))
        try:
            output = super().schedule(*args, **kwargs)
        finally:
            self.max_num_scheduled_tokens = budget
        self._note_found(output.num_scheduled_tokens)
        self._scheduled_at = time.monotonic()
        return output

    def _note_found(self, num_scheduled_tokens: dict[str, int]) -> None:
        """Notes what vLLM found in its prefix cache of those who are scheduled for the first
        time."""
        for request_id in [each for each in self._unscheduled if each in num_scheduled_tokens]:
            seen = self._unscheduled.pop(request_id)
            seen.num_cached_tokens = seen.num_computed - num_scheduled_tokens[request_id]

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        now = time.monotonic()
        decoded, prefilled = self._computed(scheduler_output.num_scheduled_tokens)
        if decoded or prefilled:
            num_prefilled = sum(number for _, number in prefilled)
            self._costs.measured(num_prefilled, now - self._scheduled_at)
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        self._policy.served(decoded, prefilled, now)
        return outputs

    def _computed(
        self, num_scheduled_tokens: dict[str, int]
    ) -> tuple[list[Seen], list[tuple[Seen, int]]]:
        """Returns whom a step gave a token, and whom it computed how many prompt tokens; vLLM has
        counted them as computed already, and not yet appended what was sampled."""
        decoded, prefilled = [], []
        for request_id, number in num_scheduled_tokens.items():
            seen = self._seen.get(request_id)
            if seen is None:
                continue  # it was aborted while the step ran
            if number == 1 and seen.num_uncomputed == 0:
                decoded.append(seen)
            else:
                prefilled.append((seen, number))
        return decoded, prefilled

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        seen = self._seen.pop(request.request_id, None)
        self._unscheduled.pop(request.request_id, None)
        if seen is not None:
            self._policy.ended(seen, time.monotonic())
        return super()._free_request(request, *args, **kwargs)

    def _preempt_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        self._seen[request.request_id].num_tokens_at_loss = request.num_tokens
        return super()._preempt_request(request, *args, **kwargs)

    def _begin_iteration(self) -> None:
        has_new_levels = self._trace is not None and self._trace.advance()
        if has_new_levels:
            for seen in self._seen.values():
                self._assign_level(seen)
        has_new_ranks = self._policy.renew(self._seen.values(), time.monotonic()) or has_new_levels
        if not has_new_ranks and not self._has_newcomers:
            return
        self._has_newcomers = False
        for place, seen in enumerate(sorted(self._seen.values(), key=self._policy.key)):
            seen.inner.priority = place
        self._order_queues_anew()
        self._count("num_priority_updates", has_new_ranks)

    def _assign(self, request: Request) -> None:
        """Leaves vLLM's field alone: it holds the request's place in the policy's order."""

    def _assign_level(self, seen: Seen) -> None:
        """Sets a request's own priority, which a policy may go by, as the plan's trace has it."""
        level = None if self._trace is None else self._trace.level(seen.conversation_id)
        if level is not None:
            seen.priority = level

    def _may_go(self, newcomer: Newcomer, holder: Holder) -> bool | None:
        one, other = (self._seen[each.who.request_id] for each in (newcomer, holder))
        if self._policy.key(other) < self._policy.key(one):
            return None
        may_displace = self._policy.presses(one) and self._policy.may_displace(one, other)
        return bool(may_displace) and not other.must_stay

    def _blocks_of(self, request_id: str) -> Any:
        if request_id not in self.requests:
            return ()
        (blocks,) = self.kv_cache_manager.get_blocks(request_id).blocks
        return blocks
