"""What switching between users cost, from the engine's own logs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suite.measuring.latency_shares import latency_shares
from suite.measuring.server_counters import server_counters
from suite.records.engine_logs import EngineLogs
from suite.statistics.arrays import Floats

_SUMMED = (
    "num_preemptions",
    "num_recompute_preemptions",
    "num_swap_out_blocks",
    "num_swap_in_blocks",
    "num_copy_runs",
    "num_copies",
    "num_copied_bytes",
    "num_conflicts",
    "num_sync_swap_ins",
    "num_async_swap_ins",
    "num_contaminated_blocks",
    "num_group_splits",
    "num_reused_tokens",
    "num_recomputed_tokens",
    "num_priority_updates",
    "stall_s",
    "bookkeeping_s",
)


def known_context_switch(logs: Sequence[EngineLogs]) -> dict[str, object] | None:
    """From the engine's own logs, else from what its server told; None where there is neither."""
    if any(each.steps is not None or each.transfers is not None for each in logs):
        return context_switch(logs)
    told = [each.server_metrics for each in logs if each.server_metrics is not None]
    return server_counters(told, [key for key in context_switch([]) if key != "unavailable"])


def context_switch(logs: Sequence[EngineLogs]) -> dict[str, object]:
    """Totals over the trials of one engine, and the ratios between them."""
    steps = [each.steps for each in logs if each.steps is not None]
    totals = {name: sum(_total(table, name) for table in steps) for name in _SUMMED}
    duration_s = sum(_total(table, "duration_s") for table in steps)
    prefilled = sum(_total(table, "num_prefill_tokens") for table in steps)
    moved = totals["num_swap_out_blocks"] + totals["num_swap_in_blocks"]
    asked = totals["num_reused_tokens"] + prefilled - totals["num_recomputed_tokens"]
    transfers = [each.transfers for each in logs if each.transfers is not None]
    ratios = {
        "mean_blocks_per_copy": (moved, totals["num_copy_runs"], "no block was copied"),
        "stall_ratio": (totals["stall_s"], duration_s, "no step was made"),
        "bookkeeping_ratio": (totals["bookkeeping_s"], duration_s, "no step was made"),
        "reused_tokens_ratio": (totals["num_reused_tokens"], asked, "no prompt was admitted"),
        "swap_out_bytes_per_s": (*_copied(transfers, "swap_out"), "no swap-out was logged"),
        "swap_in_bytes_per_s": (*_copied(transfers, "swap_in"), "no swap-in was logged"),
    }
    shares, no_shares = latency_shares(
        [each.requests for each in logs if each.requests is not None]
    )
    return {
        "num_steps": sum(len(table) for table in steps),
        **totals,
        **{name: part / whole if whole else None for name, (part, whole, _) in ratios.items()},
        **shares,
        "unavailable": {
            **{name: why for name, (_, whole, why) in ratios.items() if not whole},
            **no_shares,
        },
    }


def _total(table: pa.Table, name: str) -> float:
    return pc.sum(table[name]).as_py() or 0


def _copied(transfers: Sequence[pa.Table], direction: str) -> tuple[float, float]:
    """(bytes, seconds in which at least one transfer of this direction was copying)."""
    num_bytes, busy_s = 0.0, 0.0
    for table in transfers:
        mine = table.filter(pc.equal(table["direction"], direction))
        num_bytes += _total(mine, "num_bytes")
        busy_s += covered_s(mine["copying_at"].to_numpy(), mine["copied_at"].to_numpy())
    return num_bytes, busy_s


def covered_s(began_at: Floats, ended_at: Floats) -> float:
    """How long at least one of the intervals lasted: the length of their union."""
    order = np.argsort(began_at, kind="stable")
    began_at, ended_at = began_at[order], ended_at[order]
    covered_until = np.maximum.accumulate(np.concatenate([[-np.inf], ended_at]))[:-1]
    return float(np.maximum(0.0, ended_at - np.maximum(began_at, covered_until)).sum())
