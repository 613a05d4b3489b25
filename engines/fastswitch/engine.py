"""The step loop: scheduling, KV memory and swapping around one call of the model.

It knows no torch, no sockets and no clock of its own: the device and the clock are arguments, so
that the same code runs on a real machine and in virtual time. One thread at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from engines.api import PriorityUpdates
from engines.fastswitch.device import Batch, Device, SequenceChunk
from engines.fastswitch.kv_cache import KvCache
from engines.fastswitch.priorities import PriorityTraceFollower
from engines.fastswitch.request import FinishReason, Phase, Request, RequestOutput
from engines.fastswitch.request_log import RequestRecord
from engines.fastswitch.request_tracker import RequestTracker
from engines.fastswitch.reuse import REUSES, Reuse
from engines.fastswitch.scheduler import Scheduler, Work
from engines.fastswitch.settings import CoreSettings
from engines.fastswitch.stats import EngineStats
from engines.fastswitch.step_log import StepRecord
from engines.fastswitch.swap import Swapper
from engines.fastswitch.transfer_log import TransferRecord


@dataclass(slots=True)
class _Tally:
    """What happened outside of steps since the last step."""

    finished: list[Request] = field(default_factory=list)
    num_reused_tokens: int = 0
    num_prompt_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What `step` saw on its way, for the log."""

    began_at: float
    execute_at: float
    executed_at: float
    is_update: bool
    work: list[Work]
    phases: Counter[Phase]


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
        """The three hear of each step, of each request that has ended, of each landed transfer."""
        mechanisms = core.mechanisms
        self._core = core
        self._device = device
        self._clock = clock
        self._on_step = on_step
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
        self._reuse: Reuse = REUSES[mechanisms.reuse](self.kv, self._live)
        self._scheduler = Scheduler(core, self.kv, self._reuse)
        self._tally = _Tally()
        self.stats = EngineStats(
            num_device_blocks=core.num_device_blocks, num_host_blocks=core.num_host_blocks
        )

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    @property
    def has_flights(self) -> bool:
        """Transfers go on after the last request has ended; `poll` lands them."""
        return self._swapper.has_flights

    def poll(self) -> None:
        """Between steps, while there is nothing to step for: land what has arrived."""
        self._swapper.poll()
        self.stats = self._gauged(self.stats)

    def submit(self, request: Request) -> None:
        """Take a request; whoever builds it has seen that it fits the context limit."""
        longest = len(request.prompt_token_ids) + request.sampling.max_tokens
        assert longest <= self._core.kv_tokens, f"{longest} tokens in a pool of {self._core}"
        assert request.request_id not in self._live, f"{request.request_id} is live already"
        if self._trace is not None:
            self._trace.assign(request)
        self._tracker.submitted(request)
        self._reuse.claim(request)
        self._live[request.request_id] = request
        self._tally.num_reused_tokens += request.num_cached_tokens
        self._tally.num_prompt_tokens += len(request.prompt_token_ids)

    def abort(self, request_id: str) -> None:
        """Forget a request and free its blocks; one that is gone already is no error."""
        request = self._live.pop(request_id, None)
        if request is not None:
            request.finish_reason = FinishReason.ABORT
            self._tracker.aborted(request, self._clock())
            self.kv.discard(request)
            self.stats = self._gauged(replace(self.stats, num_aborted=self.stats.num_aborted + 1))

    def step(self) -> list[RequestOutput]:
        """One iteration; every request that got a token is in what comes back."""
        began_at = self._clock()
        # 1. priority updates (arrivals and cancels came in between two steps)
        is_update = self._trace is not None and self._trace.advance(
            self.stats.num_steps, self._live.values()
        )
        # 2. transfers that have landed
        self._swapper.poll()
        # 3., 4. who holds the device: preempt, swap, allocate
        work = self._schedule()
        phases = Counter(request.phase for request in self._live.values())
        # 5., 6. one batch, one call of the model
        batch = Batch(chunks=[_chunk(part) for part in work])
        execute_at = self._clock()
        token_ids = self._device.execute(batch)
        executed_at = self._clock()
        # 7. tokens out, finished requests off the device
        outputs = list(self._emit(work, token_ids))
        step = _Step(
            began_at=began_at,
            execute_at=execute_at,
            executed_at=executed_at,
            is_update=is_update,
            work=work,
            phases=phases,
        )
        requests = {part.request for part in work}
        self._tracker.stepped(requests, self._tally.finished, began_at, self._clock())
        self._record(step, self._clock(), len(outputs))
        return outputs

    def check_integrity(self) -> None:
        """Every block of both pools is free, held or draining, exactly once; a copy has the blocks
        it needs and no more. Raises AssertionError."""
        live = self._live.values()
        device = [block for request in live for block in request.device_blocks]
        self.kv.device.check_integrity([*device, *self._swapper.draining_blocks()])
        copies = [request.host_copy for request in live if request.host_copy is not None]
        host = [block for copy in copies for block in copy.blocks]
        self.kv.host.check_integrity([*host, *self._reuse.held_host_blocks()])
        for copy in copies:
            assert len(copy.blocks) == self.kv.blocks_for(copy.num_tokens), copy

    def _schedule(self) -> list[Work]:
        """Waits only when nothing can run before a transfer has landed."""
        work = self._scheduler.schedule(self._live.values())
        while not work:
            is_under_way = self._swapper.wait_for_any()
            assert is_under_way, f"nothing can run: {self.stats}"
            work = self._scheduler.schedule(self._live.values())
        return work

    def _emit(self, work: list[Work], token_ids: list[int | None]) -> Iterator[RequestOutput]:
        for part, token_id in zip(work, token_ids, strict=True):
            request = part.request
            request.num_computed += part.num_tokens
            request.has_just_arrived = False
            self.kv.learn(request)
            if token_id is None:
                continue
            request.output_token_ids.append(token_id)
            request.finish_reason = _finish_reason(request)
            if request.finish_reason is not None:
                self._finish(request)
            yield RequestOutput(
                request_id=request.request_id,
                token_ids=[token_id],
                finish_reason=request.finish_reason,
                num_prompt_tokens=len(request.prompt_token_ids),
                num_cached_tokens=request.num_cached_tokens,
            )

    def _finish(self, request: Request) -> None:
        self._reuse.keep(request)
        self.kv.discard(request)
        del self._live[request.request_id]
        self._tally.finished.append(request)

    def _landed(self, request: Request, transfer: TransferRecord) -> None:
        self._tracker.landed(request, transfer)
        if self._on_transfer is not None:
            self._on_transfer(transfer)

    def _record(self, step: _Step, ended_at: float, num_outputs: int) -> None:
        costs = self._swapper.take_costs()
        decisions = self._scheduler.take_decisions()
        groups = self.kv.take_group_counts()
        tally, self._tally = self._tally, _Tally()
        device, host = self.kv.device, self.kv.host
        execute_s = step.executed_at - step.execute_at
        self._scheduler.step_s += (execute_s - self._scheduler.step_s) / 8
        num_decode_tokens = sum(part.num_tokens for part in step.work if part.is_decode)
        row = StepRecord(
            step=self.stats.num_steps,
            at=step.began_at,
            execute_at=step.execute_at,
            duration_s=ended_at - step.began_at,
            bookkeeping_s=ended_at - step.began_at - execute_s - costs.stall_s,
            stall_s=costs.stall_s,
            execute_s=execute_s,
            num_decode_tokens=num_decode_tokens,
            num_prefill_tokens=sum(part.num_tokens for part in step.work) - num_decode_tokens,
            num_running=step.phases[Phase.RUNNING],
            num_waiting=step.phases[Phase.WAITING],
            num_swapped=step.phases[Phase.SWAPPED],
            num_arriving=step.phases[Phase.ARRIVING],
            num_device_blocks=device.num_blocks,
            num_used_device_blocks=device.num_blocks - device.num_free,
            num_host_blocks=host.num_blocks,
            num_used_host_blocks=host.num_blocks - host.num_free,
            num_preemptions=decisions.num_preemptions,
            num_recompute_preemptions=decisions.num_recompute_preemptions,
            num_swap_out_blocks=costs.num_swap_out_blocks,
            num_swap_in_blocks=costs.num_swap_in_blocks,
            num_copy_runs=costs.num_copy_runs,
            num_copies=costs.num_copies,
            num_copied_bytes=costs.num_copied_bytes,
            num_conflicts=costs.num_conflicts,
            num_sync_swap_ins=costs.num_sync_swap_ins,
            num_async_swap_ins=costs.num_async_swap_ins,
            num_contaminated_blocks=costs.num_contaminated_blocks,
            num_new_groups=groups.num_groups,
            num_grown_groups=groups.num_grown,
            num_group_splits=groups.num_splits,
            num_reused_tokens=tally.num_reused_tokens + decisions.num_found_tokens,
            num_recomputed_tokens=decisions.num_dropped_tokens,
            num_priority_updates=int(step.is_update),
            num_finished=len(tally.finished),
        )
        self.stats = self._gauged(
            self.stats.after(
                row, num_prompt_tokens=tally.num_prompt_tokens, num_generated_tokens=num_outputs
            )
        )
        if self._on_step is not None:
            self._on_step(row)

    def _gauged(self, stats: EngineStats) -> EngineStats:
        """The same counters with the gauges as they are now."""
        phases = Counter(request.phase for request in self._live.values())
        device, host = self.kv.device, self.kv.host
        return replace(
            stats,
            num_running=phases[Phase.RUNNING],
            num_waiting=phases[Phase.WAITING],
            num_swapped=phases[Phase.SWAPPED],
            num_used_device_blocks=device.num_blocks - device.num_free,
            num_used_host_blocks=host.num_blocks - host.num_free,
        )


def _chunk(part: Work) -> SequenceChunk:
    request = part.request
    start = request.num_computed
    samples = start + part.num_tokens == request.num_tokens
    return SequenceChunk(
        request_id=request.request_id,
        token_ids=request.tokens_between(start, start + part.num_tokens),
        start=start,
        block_table=request.device_blocks,
        sampling=request.sampling if samples else None,
        output_index=len(request.output_token_ids),
    )


def _finish_reason(request: Request) -> FinishReason | None:
    sampling = request.sampling
    if not sampling.ignore_eos and request.output_token_ids[-1] in sampling.eos_token_ids:
        return FinishReason.STOP
    if len(request.output_token_ids) >= sampling.max_tokens:
        return FinishReason.LENGTH
    return None
