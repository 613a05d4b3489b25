"""One row a step: what the engine did and what it cost. `steps.parquet` of a run has these columns.

Seconds; `at` is the step's start on the engine's clock (CLOCK_MONOTONIC when real). `stall_s` is
the time the engine stood idle for a transfer since the last step's end, `bookkeeping_s` the
scheduler's own share.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(
    slots=True, kw_only=True
)  # made in every step: frozen, it would cost three times as much
class StepRecord:
    step: int
    at: float
    execute_at: float  # the model was called; for execute_s
    duration_s: float
    bookkeeping_s: float
    stall_s: float
    execute_s: float
    num_decode_tokens: int
    num_prefill_tokens: int
    num_running: int  # requests holding device blocks; this to num_used_host_blocks: as it ran
    num_waiting: int
    num_swapped: int
    num_arriving: int  # swap-ins under way
    num_device_blocks: int  # the pool's size
    num_used_device_blocks: int
    num_host_blocks: int
    num_used_host_blocks: int
    num_preemptions: int  # of which …
    num_recompute_preemptions: int  # … dropped their KV instead of swapping it out
    num_swap_out_blocks: int
    num_swap_in_blocks: int
    num_copy_runs: int  # contiguous runs moved; blocks moved / runs = mean blocks per copy
    num_copies: int  # copy calls: runs × layers × 2 where a layer's K and V lie apart
    num_copied_bytes: int
    num_conflicts: int  # transfers waited for because somebody needed their blocks
    num_sync_swap_ins: int  # waited for by choice
    num_async_swap_ins: int  # the model ran on without
    num_contaminated_blocks: int  # of host copies, taken for another's swap-out
    num_new_groups: int  # block groups of both pools: begun …
    num_grown_groups: int  # … extended in place into free neighbours …
    num_group_splits: int  # … and tails split off another owner's
    num_reused_tokens: int  # prompt tokens admitted with KV of an earlier turn
    num_recomputed_tokens: int  # tokens computed again after their KV was dropped
    num_priority_updates: int
    num_finished: int
    # How late the step's end or a copy seen in it was, against the modelled GPU whose pace the
    # engine keeps; None where it keeps none.
    pace_missed_s: float | None = None
