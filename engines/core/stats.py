"""The engine's counters since its start and its gauges now: what `/metrics` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from engines.core.step_log import StepRecord


class Gauges(NamedTuple):
    """The gauges among EngineStats' fields, where their meaning is told."""

    num_running: int
    num_waiting: int
    num_swapped: int
    num_arriving: int
    num_used_device_blocks: int
    num_used_host_blocks: int


@dataclass(slots=True, kw_only=True)  # a new one in every step: see StepRecord
class EngineStats:
    """A snapshot between two steps, which nobody alters. Gauges first, then counters that only
    grow."""

    num_running: int = 0
    num_waiting: int = 0
    num_swapped: int = 0
    num_arriving: int = 0
    num_device_blocks: int = 0
    num_used_device_blocks: int = 0
    num_host_blocks: int = 0
    num_used_host_blocks: int = 0

    num_steps: int = 0
    num_preemptions: int = 0
    num_recompute_preemptions: int = 0
    num_swap_out_blocks: int = 0
    num_swap_in_blocks: int = 0
    num_copy_runs: int = 0
    num_copies: int = 0
    num_copied_bytes: int = 0
    stall_s: float = 0.0
    num_prompt_tokens: int = 0
    num_generated_tokens: int = 0
    num_reused_tokens: int = 0
    num_finished: int = 0
    num_aborted: int = 0

    def after(
        self, row: StepRecord, gauges: Gauges, *, num_prompt_tokens: int, num_generated_tokens: int
    ) -> EngineStats:
        """Returns the statistics one step later. The two token counts are the step's own."""
        return EngineStats(
            **gauges._asdict(),
            num_device_blocks=self.num_device_blocks,
            num_host_blocks=self.num_host_blocks,
            num_aborted=self.num_aborted,
            num_steps=self.num_steps + 1,
            num_preemptions=self.num_preemptions + row.num_preemptions,
            num_recompute_preemptions=self.num_recompute_preemptions
            + row.num_recompute_preemptions,
            num_swap_out_blocks=self.num_swap_out_blocks + row.num_swap_out_blocks,
            num_swap_in_blocks=self.num_swap_in_blocks + row.num_swap_in_blocks,
            num_copy_runs=self.num_copy_runs + row.num_copy_runs,
            num_copies=self.num_copies + row.num_copies,
            num_copied_bytes=self.num_copied_bytes + row.num_copied_bytes,
            stall_s=self.stall_s + row.stall_s,
            num_reused_tokens=self.num_reused_tokens + row.num_reused_tokens,
            num_finished=self.num_finished + row.num_finished,
            num_prompt_tokens=self.num_prompt_tokens + num_prompt_tokens,
            num_generated_tokens=self.num_generated_tokens + num_generated_tokens,
        )
