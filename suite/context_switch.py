"""What switching between users cost, summed from the engine's own step log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_SUMMED = (
    "num_preemptions",
    "num_recompute_preemptions",
    "num_swap_out_blocks",
    "num_swap_in_blocks",
    "num_copy_runs",
    "num_copies",
    "num_copied_bytes",
    "num_reused_tokens",
    "num_recomputed_tokens",
    "num_priority_updates",
    "stall_s",
    "bookkeeping_s",
)


def read_steps(directory: Path) -> pa.Table | None:
    """A part's step log; None where the engine gives none."""
    path = directory / "steps.parquet"
    return pq.read_table(path) if path.exists() else None


def context_switch(steps: Sequence[pa.Table]) -> dict[str, object]:
    """Totals over the parts of one engine, and the ratios between them."""
    totals = {name: sum(_total(table, name) for table in steps) for name in _SUMMED}
    duration_s = sum(_total(table, "duration_s") for table in steps)
    prefilled = sum(_total(table, "num_prefill_tokens") for table in steps)
    moved = totals["num_swap_out_blocks"] + totals["num_swap_in_blocks"]
    asked = totals["num_reused_tokens"] + prefilled - totals["num_recomputed_tokens"]
    ratios = {
        "mean_blocks_per_copy": (moved, totals["num_copy_runs"], "no block was copied"),
        "stall_ratio": (totals["stall_s"], duration_s, "no step was made"),
        "bookkeeping_ratio": (totals["bookkeeping_s"], duration_s, "no step was made"),
        "reused_tokens_ratio": (totals["num_reused_tokens"], asked, "no prompt was admitted"),
    }
    return {
        "num_steps": sum(len(table) for table in steps),
        **totals,
        **{name: part / whole if whole else None for name, (part, whole, _) in ratios.items()},
        "unavailable": {name: why for name, (_, whole, why) in ratios.items() if not whole},
    }


def _total(table: pa.Table, name: str) -> float:
    return pc.sum(table[name]).as_py() or 0
