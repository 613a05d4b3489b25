"""vLLM's scheduler with a priority trace and preemption for whoever waits with more urgency.

`--scheduler-cls fsbench_vllm.scheduler.TraceScheduler --scheduling-policy priority
--no-async-scheduling`, with this folder's parent on PYTHONPATH. Environment: FSBENCH_PRIORITIES,
the trace (without it requests keep their own priority); FSBENCH_COUNTERS, a file for what is
counted. A request names its conversation in `vllm_xargs: {"conversation_id": …}`.

vLLM's own `priority` policy fixes a request's priority at admission, and a waiting request makes
nobody go. Here, before each iteration: levels are set anew when the trace says so, holders are put
in order (those who decode first, as the embedded engine serves them), and those who must go for
more urgent newcomers are preempted, by vLLM's own means, recompute. What then happens in the
iteration is vLLM's.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request, RequestStatus

from .compatibility import NAMES, check
from .counters import Counters
from .displacement import Holder, Newcomer, by_level, displaced
from .trace import Trace


class TraceScheduler(Scheduler):  # type: ignore[misc]  # vLLM is not installed where mypy looks
    needed_names: Sequence[str] = NAMES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remark = check(self, version("vllm"), self.needed_names)
        if remark is not None:
            logging.getLogger("vllm").warning(remark)
        if len(self.kv_cache_config.kv_cache_groups) != 1:
            raise ValueError("the fsbench scheduler knows models with one group of KV blocks only")
        trace, counters = (os.environ.get(f"FSBENCH_{x}") for x in ("PRIORITIES", "COUNTERS"))
        self._trace = Trace(Path(trace)) if trace else None
        self._counters = Counters(Path(counters)) if counters else None
        self._dropped: dict[str, int] = {}  # computed tokens lost, by request that lost them

    def add_request(self, request: Request) -> None:
        self._assign(request)
        super().add_request(request)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        if self.running or self.waiting:
            self._begin_iteration()
            self._make_way()
            self.running.sort(key=_serving_order)
        output = super().schedule(*args, **kwargs)
        self._count_recomputed(output.num_scheduled_tokens)
        return output

    def _begin_iteration(self) -> None:
        if self._trace is not None and self._trace.advance():
            self._set_levels_anew()

    def _assign(self, request: Request) -> None:
        if self._trace is None or request.sampling_params is None:
            return
        extra = request.sampling_params.extra_args or {}
        level = self._trace.level(extra.get("conversation_id"))
        if level is not None:
            request.priority = level

    def _set_levels_anew(self) -> None:
        for request in self.requests.values():
            self._assign(request)
        self._order_queues_anew()
        self._count("num_priority_updates", 1)

    def _order_queues_anew(self) -> None:
        # Their heaps were ordered by the old levels. Who was passed over for something else than
        # room waits in a queue of its own, which older versions do not have.
        queues = [self.waiting, getattr(self, "skipped_waiting", None)]
        for queue in [each for each in queues if each is not None]:
            for request in [queue.pop_request() for _ in range(len(queue))]:
                queue.add_request(request)

    def _make_way(self) -> None:
        """Preempts whoever must go for more urgent newcomers."""
        holders = sorted(self.running)  # vLLM orders requests by priority, then arrival
        newcomers = [request for request in sorted(self.waiting) if _can_start(request)]
        if not newcomers or not holders or newcomers[0].priority >= holders[-1].priority:
            return
        manager = self.kv_cache_manager
        indices = displaced(
            [Newcomer(level=r.priority, num_blocks=self._num_blocks(r), who=r) for r in newcomers],
            [self._holder(request) for request in holders],
            num_free=manager.block_pool.get_num_free_blocks(),
            num_watermark=getattr(manager, "watermark_blocks", 0),
            max_holders=self.max_num_running_reqs,
            rule=self._may_go,
        )
        now = time.monotonic()
        for index in indices:
            victim = holders[index]
            self.running.remove(victim)
            self._preempt_request(victim, now)
            # Should it come back in this very step, it is to be sent to the workers as a whole.
            self.prev_step_scheduled_req_ids.discard(victim.request_id)
        self._count("num_displacements", len(indices))

    def _may_go(self, newcomer: Newcomer, holder: Holder) -> bool | None:
        return by_level(newcomer, holder)

    def _holder(self, request: Request) -> Holder:
        (blocks,) = self.kv_cache_manager.get_blocks(request.request_id).blocks
        num_missing = max(0, self._num_blocks(request) - len(blocks))
        num_own = sum(block.ref_cnt == 1 for block in blocks)
        return Holder(
            level=request.priority, num_blocks=num_own, num_missing=num_missing, who=request
        )

    def _num_blocks(self, request: Request) -> int:
        return -(-int(request.num_tokens) // int(self.block_size))

    def _preempt_request(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self._dropped[request.request_id] = request.num_computed_tokens
        super()._preempt_request(request, *args, **kwargs)

    def _count_recomputed(self, num_scheduled_tokens: dict[str, int]) -> None:
        """Counts what those who came back had lost and did not find by its tokens."""
        for request_id in [each for each in self._dropped if each not in self.requests]:
            del self._dropped[request_id]
        for request_id in [each for each in self._dropped if each in num_scheduled_tokens]:
            computed = self.requests[request_id].num_computed_tokens
            found = computed - num_scheduled_tokens[request_id]
            lost = self._dropped.pop(request_id)
            self._count("num_recomputed_tokens", max(0, lost - found))

    def _count(self, name: str, number: int) -> None:
        if self._counters is not None and number:
            self._counters.add(name, number)


def _serving_order(request: Request) -> tuple[bool, int, float]:
    """Returns the key of the order in which vLLM shares out a step's tokens: decodes, then prefills
    by urgency."""
    is_prefilling = request.num_tokens - request.num_computed_tokens > 1
    return is_prefilling, request.priority, request.arrival_time


def _can_start(request: Request) -> bool:
    """Returns False for one that waits for something else, such as KV on its way from another
    tier."""
    return request.status in (RequestStatus.WAITING, RequestStatus.PREEMPTED)
