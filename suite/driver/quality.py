"""How far the driver can be trusted in a run, judged from what it recorded.

The kernel stamps what arrives, so a late read does not falsify a latency; but a turn sent late, two
tokens read as one, or a worker near the end of its core do. Each marks the run invalid, and says
what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suite.records.run_directory import DriverQuality
from suite.records.turn_records import time_source_of

MAX_LAG_S = 0.002
MAX_LAG_SHARE_OF_SLO = 0.05
MAX_COALESCED_RATIO = 0.001
MAX_CPU_RATIO = 0.7


def max_lag_s(tightest_ttft_slo_s: float | None) -> float:
    if tightest_ttft_slo_s is None:
        return MAX_LAG_S
    return min(MAX_LAG_S, MAX_LAG_SHARE_OF_SLO * tightest_ttft_slo_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Reasons not to trust the numbers, and remarks that leave them valid."""

    invalidating: list[str]
    remarks: list[str]


def judge(
    turns: pa.Table,
    *,
    num_workers: int,
    max_cpu_ratio: float,
    tightest_ttft_slo_s: float | None,
) -> DriverQuality:
    """`turns` has the columns of TURN_SCHEMA."""
    lag_p99_s = _lag_p99_s(turns)
    coalesced_ratio = _coalesced_ratio(turns)
    invalidating = _lag_doubts(lag_p99_s, max_lag_s(tightest_ttft_slo_s))
    if coalesced_ratio > MAX_COALESCED_RATIO:
        invalidating.append(
            f"{coalesced_ratio:.2%} of the reads carried more than one token event "
            f"(bound {MAX_COALESCED_RATIO:.1%}): their gaps are merged; use more workers, or read "
            "TBT as that of the server's batches if it writes several tokens at once"
        )
    if max_cpu_ratio > MAX_CPU_RATIO:
        invalidating.append(
            f"a worker used {max_cpu_ratio:.2f} of a core (bound {MAX_CPU_RATIO}): use more workers"
        )
    source = time_source_of(turns)
    remarks = _usage_remarks(turns)
    if turns.num_rows and source != "kernel":
        remarks.append(
            f"instants are stamped in user space ({source}): TTFT and TBT include the driver's own "
            "scheduling; use plain http on Linux for kernel stamps"
        )
    return DriverQuality(
        num_workers=num_workers,
        time_source=source,
        max_cpu_ratio=max_cpu_ratio,
        lag_p99_s=lag_p99_s,
        coalesced_ratio=coalesced_ratio,
        is_valid=not invalidating,
        warnings=invalidating + remarks,
    )


def _lag_p99_s(turns: pa.Table) -> float | None:
    lag_s = pc.drop_null(pc.subtract(turns["sent_at"], turns["scheduled_at"]))
    return float(np.quantile(lag_s.to_numpy(), 0.99)) if len(lag_s) else None


def _coalesced_ratio(turns: pa.Table) -> float:
    """Reads with more than one chunk of tokens among all chunks of tokens."""
    num_chunks = pc.sum(pc.list_value_length(turns["token_at"])).as_py() or 0
    num_coalesced = pc.sum(turns["num_coalesced"]).as_py() or 0
    return num_coalesced / num_chunks if num_chunks else 0.0


def _lag_doubts(lag_p99_s: float | None, bound_s: float) -> list[str]:
    if lag_p99_s is None or lag_p99_s <= bound_s:
        return []
    return [
        f"turns were sent late: p99 of sent − scheduled is {lag_p99_s:.4f} s (bound {bound_s:g} s);"
        " use more workers, leave the driver a core, or let it run with real-time priority "
        "(ulimit -r 1)"
    ]


def _usage_remarks(turns: pa.Table) -> list[str]:
    """Turns that succeeded, but whose counts disagree: nothing is corrected, both are kept."""
    good = turns.filter(pc.is_null(turns["error"]))
    chunks = good["tokens_per_chunk"].combine_chunks()
    per_turn = np.bincount(
        pc.list_parent_indices(chunks), weights=pc.list_flatten(chunks), minlength=len(good)
    )
    counted = pa.array(per_turn.astype(np.int64))
    reported = good["num_output_tokens"].combine_chunks()
    planned = good["planned_output_tokens"].combine_chunks()
    remarks = []
    if num := _num_true(pc.not_equal(counted, reported)):
        remarks.append(
            f"{num} turns streamed another number of tokens than the server's usage reports: "
            "their chunks hold several tokens or none; where the server can, let it return token "
            "ids"
        )
    if num := _num_true(pc.not_equal(pc.coalesce(reported, counted), planned)):
        remarks.append(
            f"{num} turns got another number of tokens than planned, so engines do unequal work: "
            "let the server ignore the end-of-sequence token (extra_body: {ignore_eos: true})"
        )
    return remarks


def _num_true(flags: pa.Array) -> int:
    return int(pc.sum(pc.cast(flags, pa.int64())).as_py() or 0)
