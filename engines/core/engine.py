"""The step loop: scheduling, KV memory and swapping around one call of the model.

It knows no torch, no sockets and no clock of its own: the device and the clock are arguments, so
that the same code runs on a real machine and in virtual time. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from engines.api import PriorityUpdates
from engines.core.device import Batch, Device, Direction, SequenceChunk
from engines.core.kv_cache import KvCache
from engines.core.priorities import PriorityTraceFollower
from engines.core.request import FinishReason, Request, RequestOutput
from engines.core.request_log import RequestRecord
from engines.core.request_tracker import RequestTracker
from engines.core.reuse import REUSES, Reuse
from engines.core.roster import Roster
from engines.core.scheduler import Prefill, Scheduler, Work
from engines.core.settings import CoreSettings
from engines.core.stats import EngineStats
from engines.core.step_costs import StepCosts
from engines.core.step_log import StepRecord
from engines.core.step_recorder import Step, StepRecorder
from engines.core.swap import Swapper
from engines.core.transfer_log import TransferRecord


class Engine:
    def __init__(
        self,
        core: CoreSettings,
        device: Device,
        *,
        clock: Callable[[], float],
        priorities: PriorityUpdates | None = None,
        on_step: Callable[[StepRecord], None] | None = None,
        on_request: Callable[[RequestRecord], None] | None = None,
        on_transfer: Callable[[TransferRecord], None] | None = None,
    ) -> None:
        """Makes an engine without requests. The three callbacks hear of each step, of each request
        that has ended, of each landed transfer."""
        mechanisms = core.mechanisms
        self._core = core
        self._device = device
        self._clock = clock
        self._on_transfer = on_transfer
        self._tracker = RequestTracker(on_request)
        self._trace = PriorityTraceFollower(priorities) if priorities is not None else None
        self._live: dict[str, Request] = {}
        self._swapper = Swapper(
            device,
            mechanisms.copy,
            clock,
            is_sync=mechanisms.swap == "sync",
            on_stall=self._tracker.stalled,
            on_landed=self._landed,
        )
        self.kv = KvCache(core, self._swapper, keeps_copies=mechanisms.reuse == "host_copy")
        self._costs = StepCosts()
        self._policy = mechanisms.policy.build(self._costs)
        self._roster = Roster(self._policy)
        self._reuse: Reuse = REUSES[mechanisms.reuse](self.kv, self._roster)
        self._scheduler = Scheduler(core, self.kv, self._reuse, self._roster)
        self._num_submitted = 0
        self._recorder = StepRecorder(core, self._scheduler, self.kv, self._roster, on_step)

    @property
    def stats(self) -> EngineStats:
        return self._recorder.stats

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    @property
    def has_flights(self) -> bool:
        """Tells whether transfers are under way; they go on after the last request has ended, and
        `poll` lands them."""
        return self._swapper.has_flights

    def poll(self) -> None:
        """Lands the transfers that have arrived, between steps, while there is nothing to step
        for."""
        self._swapper.poll()
        self._recorder.refresh()

    def submit(self, request: Request) -> None:
        """Takes a request; whoever builds it has seen that it fits the context limit."""
        longest = len(request.prompt_token_ids) + request.sampling.max_tokens
        assert longest <= self._core.kv_tokens, f"{longest} tokens in a pool of {self._core}"
        assert request.request_id not in self._live, f"{request.request_id} is live already"
        request.serial = self._num_submitted
        self._num_submitted += 1
        if self._trace is not None:
            self._trace.assign(request)
        self._tracker.submitted(request)
        self._reuse.claim(request)
        request.num_findable_tokens = self.kv.num_findable_tokens(request)
        self._policy.submitted(request, self._clock())
        self._live[request.request_id] = request
        self._roster.enter(request)
        tally = self._recorder.tally
        tally.num_reused_tokens += request.num_cached_tokens
        tally.num_prompt_tokens += len(request.prompt_token_ids)

    def abort(self, request_id: str) -> None:
        """Forgets a request and frees its blocks; one that is gone already is no error."""
        request = self._live.pop(request_id, None)
        if request is not None:
            request.finish_reason = FinishReason.ABORT
            self._tracker.ended(request, self._clock())
            self._roster.leave(request)
            self._policy.ended(request, self._clock())
            self.kv.discard(request)
            self._recorder.refresh(num_aborted=1)

    def end(self, request_id: str) -> None:
        """Ends a request well, as when a stop string was found: it gives no more outputs."""
        request = self._live.get(request_id)
        if request is not None:
            request.finish_reason = FinishReason.STOP
            self._tracker.ended(request, self._clock())
            self._retire(request)
            self._recorder.tally.num_ended += 1
            self._recorder.refresh()

    def step(self) -> list[RequestOutput]:
        """Does one iteration and returns an output for every request that got a token."""
        began_at = self._clock()
        stalled_before_s = self._swapper.stalled_s
        # 1. ranks (arrivals and cancels came in between two steps)
        is_update = self._update_ranks(began_at)
        # 2. transfers that have landed
        self._swapper.poll()
        # 3., 4. who holds the device: preempt, swap, allocate
        work = self._schedule()
        gauges = self._recorder.gauges()
        # 5., 6. one batch, one call of the model
        decodes, prefills = work.decodes, work.prefills
        batch = Batch(chunks=[*decodes.chunks, *map(_chunk, prefills)])
        num_first_tokens = decodes.num_first_tokens
        execute_at = self._clock()
        token_ids = self._device.execute(batch)
        executed_at = self._clock()
        # 7. tokens out, finished requests off the device
        members = decodes.members.union(part.request for part in prefills)
        outputs = self._emit(work, token_ids)
        ended_at = self._clock()
        finished = self._recorder.tally.finished
        self._tracker.stepped(members, self._roster.take_moved(), finished, began_at, ended_at)
        execute_s = executed_at - execute_at
        self._scheduler.step_s += (execute_s - self._scheduler.step_s) / 8
        num_prefilled = sum(part.num_tokens for part in prefills)
        self._costs.measured(num_prefilled, execute_s)
        self._policy.served(decodes.requests, prefills, ended_at)
        step = Step(
            began_at=began_at,
            stalled_before_s=stalled_before_s,
            execute_at=execute_at,
            executed_at=executed_at,
            is_update=is_update,
            num_decode_tokens=len(decodes.requests) - num_first_tokens,
            num_prefill_tokens=num_first_tokens + num_prefilled,
            gauges=gauges,
        )
        self._recorder.record(step, self._clock(), len(outputs))
        return outputs

    def check_integrity(self) -> None:
        """Checks that every block of both pools is free, held or draining, exactly once, that a
        copy has the blocks it needs and no more, and what a quiet step relies on. Raises
        AssertionError."""
        self._scheduler.check_integrity()
        live = self._live.values()
        device = [block for request in live for block in request.device_blocks]
        self.kv.device.check_integrity([*device, *self._swapper.draining_blocks()])
        copies = [request.host_copy for request in live if request.host_copy is not None]
        host = [block for copy in copies for block in copy.blocks]
        self.kv.host.check_integrity([*host, *self._reuse.held_host_blocks()])
        for copy in copies:
            assert len(copy.blocks) == self.kv.blocks_for(copy.num_tokens), copy

    def _update_ranks(self, now: float) -> bool:
        """Returns whether the trace has set priorities anew."""
        trace, roster = self._trace, self._roster
        is_update = trace is not None and trace.advance(self.stats.num_steps, roster)
        if self._policy.renew(roster, now) or is_update:
            roster.reorder()
        return is_update

    def _schedule(self) -> Work:
        """Waits only when nothing can run before a transfer has landed."""
        while not (work := self._scheduler.schedule()):
            is_under_way = self._swapper.wait_for_any()
            assert is_under_way, f"nothing can run: {self.stats}"
        return work

    def _emit(self, work: Work, token_ids: list[int | None]) -> list[RequestOutput]:
        decodes = work.decodes
        num_decodes = len(decodes.requests)
        decodes.take(cast("list[int]", token_ids[:num_decodes]))
        if self.kv.is_learning:
            for request in decodes.at_block_end():
                self.kv.learn(request, 1)
        for request in decodes.ended():
            self._finish(request)
        outputs = decodes.outputs()
        for part, token_id in zip(work.prefills, token_ids[num_decodes:], strict=True):
            outputs += self._emit_prefill(part, token_id)
        return outputs

    def _emit_prefill(self, part: Prefill, token_id: int | None) -> list[RequestOutput]:
        request, num_tokens = part
        request.num_computed += num_tokens
        request.has_just_arrived = False
        self.kv.learn(request, num_tokens)
        if token_id is None:
            return []
        request.output_token_ids.append(token_id)
        request.finish_reason = request.ending()
        if request.finish_reason is not None:
            self._finish(request)
        return [
            RequestOutput(
                request.request_id,
                [token_id],
                request.finish_reason,
                len(request.prompt_token_ids),
                request.num_cached_tokens,
            )
        ]

    def _finish(self, request: Request) -> None:
        self._retire(request)
        self._recorder.tally.finished.append(request)

    def _retire(self, request: Request) -> None:
        """Takes a request that has ended well off the device, and keeps its history for the next
        turn."""
        self._roster.leave(request)
        self._policy.ended(request, self._clock())
        self._reuse.keep(request)
        self.kv.discard(request)
        del self._live[request.request_id]

    def _landed(self, request: Request, transfer: TransferRecord) -> None:
        self._tracker.landed(request, transfer)
        if transfer.direction is Direction.SWAP_IN:
            copying_s = transfer.copied_at - transfer.copying_at
            self._costs.moved(transfer.num_blocks * self._core.block_size, copying_s)
        if self._on_transfer is not None:
            self._on_transfer(transfer)


def _chunk(part: Prefill) -> SequenceChunk:
    request, num_tokens = part
    stop = request.num_computed + num_tokens
    return SequenceChunk(
        request.request_id,
        request.tokens_between(request.num_computed, stop),
        request.num_computed,
        request.device_blocks,
        request.sampling if stop == request.num_tokens else None,
        len(request.output_token_ids),
    )
