"""What a step did, gathered from those who know: its row of the log, and the engine's counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from engines.core.kv_cache import KvCache
from engines.core.request import Request
from engines.core.roster import Roster
from engines.core.scheduler import Scheduler
from engines.core.settings import CoreSettings
from engines.core.stats import EngineStats, Gauges
from engines.core.step_log import StepRecord


@dataclass(slots=True)
class Tally:
    """What happened since the last step was recorded."""

    finished: list[Request] = field(default_factory=list)  # by the step's tokens
    num_ended: int = 0  # between steps, by a stop string
    num_reused_tokens: int = 0
    num_prompt_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class Step:
    """What `Engine.step` saw on its way. Seconds, instants on the engine's clock."""

    began_at: float
    stalled_before_s: float  # since the last step's end: a request was ended or aborted
    execute_at: float
    executed_at: float
    is_update: bool
    num_decode_tokens: int
    num_prefill_tokens: int
    gauges: Gauges  # as the model ran, before finished requests left


class StepRecorder:
    def __init__(
        self,
        core: CoreSettings,
        scheduler: Scheduler,
        kv: KvCache,
        roster: Roster,
        on_step: Callable[[StepRecord], None] | None,
    ) -> None:
        self.tally = Tally()
        self.stats = EngineStats(
            num_device_blocks=core.num_device_blocks, num_host_blocks=core.num_host_blocks
        )
        self._scheduler = scheduler
        self._kv = kv
        self._roster = roster
        self._on_step = on_step

    def gauges(self) -> Gauges:
        """Returns the gauges as they are now."""
        roster, device, host = self._roster, self._kv.device, self._kv.host
        num_arriving, num_swapped = roster.num_arriving, roster.num_swapped
        return Gauges(
            len(roster.running) + len(roster.arriving) - num_arriving,
            len(roster.outside) - num_swapped,
            num_swapped,
            num_arriving,
            device.num_blocks - device.num_free,
            host.num_blocks - host.num_free,
        )

    def refresh(self, *, num_aborted: int = 0) -> None:
        """Brings the statistics up to date after something has happened between two steps."""
        self.stats = replace(
            self.stats,
            **self.gauges()._asdict(),
            num_aborted=self.stats.num_aborted + num_aborted,
        )

    def record(self, step: Step, ended_at: float, num_outputs: int) -> None:
        """Records a step that is over, in which `num_outputs` requests got a token."""
        tally, self.tally = self.tally, Tally()
        row = self._row(step, ended_at, tally)
        self.stats = self.stats.after(
            row,
            self.gauges() if tally.finished else step.gauges,
            num_prompt_tokens=tally.num_prompt_tokens,
            num_generated_tokens=num_outputs,
        )
        if self._on_step is not None:
            self._on_step(row)

    def _row(self, step: Step, ended_at: float, tally: Tally) -> StepRecord:
        gauges = step.gauges
        costs = self._kv.swapper.take_costs()
        decisions = self._scheduler.take_decisions()
        groups = self._kv.take_group_counts()
        duration_s = ended_at - step.began_at
        execute_s = step.executed_at - step.execute_at
        return StepRecord(
            step=self.stats.num_steps,
            at=step.began_at,
            execute_at=step.execute_at,
            duration_s=duration_s,
            bookkeeping_s=duration_s - execute_s - (costs.stall_s - step.stalled_before_s),
            stall_s=costs.stall_s,
            execute_s=execute_s,
            num_decode_tokens=step.num_decode_tokens,
            num_prefill_tokens=step.num_prefill_tokens,
            num_running=gauges.num_running,
            num_waiting=gauges.num_waiting,
            num_swapped=gauges.num_swapped,
            num_arriving=gauges.num_arriving,
            num_device_blocks=self.stats.num_device_blocks,
            num_used_device_blocks=gauges.num_used_device_blocks,
            num_host_blocks=self.stats.num_host_blocks,
            num_used_host_blocks=gauges.num_used_host_blocks,
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
            num_finished=len(tally.finished) + tally.num_ended,
        )
