"""One row a step: what the engine did and what it cost. `steps.parquet` of a run has these columns.

Seconds; `at` is the step's start on the engine's clock (CLOCK_MONOTONIC when real). `stall_s` is
the time the device stood idle for a transfer, `bookkeeping_s` the scheduler's own share.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa

from engines.arrow_log import ArrowLog


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    step: int
    at: float
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
    num_reused_tokens: int  # prompt tokens admitted with KV of an earlier turn
    num_recomputed_tokens: int  # tokens computed again after their KV was dropped
    num_priority_updates: int
    num_finished: int


SCHEMA = pa.schema(
    [
        (field.name, pa.float64() if field.type == "float" else pa.int64())
        for field in fields(StepRecord)
    ]
)


ROWS_PER_BATCH = 32  # about a second of steps: what a kill can lose


class StepLog:
    def __init__(self, path: Path) -> None:
        self._log = ArrowLog(path, SCHEMA, rows_per_batch=ROWS_PER_BATCH)

    def append(self, record: StepRecord) -> None:
        self._log.append(asdict(record))

    def flush(self) -> None:
        self._log.flush()

    def close(self) -> None:
        self._log.close()
