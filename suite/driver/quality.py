"""How far the driver can be trusted in a run, judged from what it recorded.

The kernel stamps what arrives, so a late read does not falsify a latency; but a turn sent late, a
turn that failed in the driver itself, or a worker near the end of its core do. Each marks the run
invalid, and says what to do. Chunks that share a read have lost the gaps between them, which
touches TBT and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from suite.driver.turn_remarks import turn_remarks
from suite.plurals import several
from suite.records.run_directory import DriverQuality
from suite.records.turn_records import time_source_of
from suite.statistics.arrays import Floats

MAX_LAG_S = 0.002
MAX_LAG_SHARE_OF_SLO = 0.05
LATE_RATIO = 0.01  # of the turns may be sent later than the bound: their P99 lies at it
CHANCE_RATIO = 0.05  # so seldom may a driver that keeps to it be called late
MAX_MERGED_RATIO = 0.001  # by the driver: chunks that came apart
MAX_COALESCED_RATIO = 0.01  # by the server: chunks that came together
MAX_CPU_RATIO = 0.7
TOLD_OWN_TIME_S = 0.005


def max_lag_s(tightest_ttft_slo_s: float | None) -> float:
    if tightest_ttft_slo_s is None:
        return MAX_LAG_S
    return min(MAX_LAG_S, MAX_LAG_SHARE_OF_SLO * tightest_ttft_slo_s)


def is_beyond_chance(num: int, total: int, ratio: float) -> bool:
    """Whether so many of `total` are more than a true share of `ratio` gives by chance (exact
    binomial test, one-sided)."""
    # bdtrc(k - 1, n, p) is P(at least k of n).
    return num > 0 and bool(special.bdtrc(num - 1, total, ratio) < CHANCE_RATIO)


@dataclass(slots=True)
class _Doubts:
    """Reasons not to trust the numbers, or the gaps alone, and remarks that leave them valid."""

    invalidating: list[str] = field(default_factory=list)
    of_gaps: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def judge(
    turns: pa.Table,
    *,
    num_workers: int,
    max_cpu_ratio: float,
    tightest_ttft_slo_s: float | None,
    asks_ignore_eos: bool = False,
) -> DriverQuality:
    """`turns` has the columns of TURN_SCHEMA."""
    lag_p99_s, own_time_p99_s = _lag_p99_s(turns), _own_time_p99_s(turns)
    coalesced_ratio, merged_ratio = _coalesced_ratio(turns), _merged_ratio(turns)
    doubts = _Doubts(remarks=turn_remarks(turns, asks_ignore_eos=asks_ignore_eos))
    _doubt_lag(doubts, _lags_s(turns), max_lag_s(tightest_ttft_slo_s))
    _doubt_failures(doubts, turns)
    _doubt_cpu(doubts, max_cpu_ratio)
    _doubt_gaps(doubts, coalesced_ratio, merged_ratio, _num_chunks(turns))
    _remark_own_time(doubts, own_time_p99_s)
    _remark_stamps(doubts, turns)
    return DriverQuality(
        num_workers=num_workers,
        time_source=time_source_of(turns),
        max_cpu_ratio=max_cpu_ratio,
        lag_p99_s=lag_p99_s,
        coalesced_ratio=coalesced_ratio,
        merged_ratio=merged_ratio,
        own_time_p99_s=own_time_p99_s,
        tbt_doubt="; ".join(doubts.of_gaps) or None,
        is_valid=not doubts.invalidating,
        warnings=doubts.invalidating + doubts.of_gaps + doubts.remarks,
    )


def _lags_s(turns: pa.Table) -> Floats:
    lags_s: Floats = pc.drop_null(pc.subtract(turns["sent_at"], turns["scheduled_at"])).to_numpy()
    return lags_s


def _lag_p99_s(turns: pa.Table) -> float | None:
    lags_s = _lags_s(turns)
    return float(np.quantile(lags_s, 0.99)) if len(lags_s) else None


def _own_time_p99_s(turns: pa.Table) -> float | None:
    """Returns P99 of the time after answer and think time until the next turn could be sent."""
    later = turns.filter(pc.greater(turns["turn"], 0))
    own_s = pc.drop_null(pc.subtract(later["scheduled_at"], later["planned_at"]))
    return float(np.quantile(own_s.to_numpy(), 0.99)) if len(own_s) else None


def _coalesced_ratio(turns: pa.Table) -> float:
    """Returns the share of chunks that came with another in one read, of all with tokens."""
    return _share_of_chunks(turns, "num_shared_chunks")


def _merged_ratio(turns: pa.Table) -> float:
    """Returns the share of chunks that this machine joined, or may have joined, of all chunks."""
    own = pc.coalesce(turns["num_merged_chunks"], turns["num_shared_chunks"])
    return _share_of_chunks(turns.append_column("num_own_chunks", own), "num_own_chunks")


def _num_chunks(turns: pa.Table) -> int:
    return pc.sum(pc.list_value_length(turns["token_at"])).as_py() or 0


def _share_of_chunks(turns: pa.Table, column: str) -> float:
    num_chunks = _num_chunks(turns)
    return (pc.sum(turns[column]).as_py() or 0) / num_chunks if num_chunks else 0.0


def _doubt_lag(doubts: _Doubts, lags_s: Floats, bound_s: float) -> None:
    """Doubts a driver of whose turns more are late than chance explains.

    Few turns tell little of their P99: one late turn of 48 may come from a driver that is late once
    in a hundred times.
    """
    num_late = int((lags_s > bound_s).sum())
    if is_beyond_chance(num_late, len(lags_s), LATE_RATIO):
        doubts.invalidating.append(
            f"turns were sent late: p99 of sent − scheduled is {np.quantile(lags_s, 0.99):.4f} s "
            f"(bound {bound_s:g} s, {several(num_late, 'turn')} of {len(lags_s):,} above it); use "
            "more workers, leave the driver a core, or let it run with real-time priority "
            "(ulimit -r 1)"
        )


def _doubt_failures(doubts: _Doubts, turns: pa.Table) -> None:
    own = turns.filter(pc.equal(turns["error_source"], "driver"))
    if own.num_rows:
        doubts.invalidating.append(
            f"{several(own.num_rows, 'turn')} failed in the driver itself, not in the server: "
            f"{own['error'][0].as_py()}"
        )


def _doubt_cpu(doubts: _Doubts, max_cpu_ratio: float) -> None:
    if max_cpu_ratio > MAX_CPU_RATIO:
        doubts.invalidating.append(
            f"a worker used {max_cpu_ratio:.2f} of a core (bound {MAX_CPU_RATIO}): use more workers"
        )


def _doubt_gaps(
    doubts: _Doubts, coalesced_ratio: float, merged_ratio: float, num_chunks: int
) -> None:
    from_server = coalesced_ratio - merged_ratio
    if from_server > max(MAX_COALESCED_RATIO, merged_ratio):
        doubts.of_gaps.append(
            f"{from_server:.1%} of the token chunks came together with another, in one packet or "
            f"one burst (bound {MAX_COALESCED_RATIO:.0%}): the stream is buffered on its way, or "
            "the server writes several tokens at once, so gaps are those of the writes and TBT can "
            "not be judged; have whatever stands between pass on every event at once (nginx: "
            "proxy_buffering off)"
        )
    elif is_beyond_chance(round(merged_ratio * num_chunks), num_chunks, MAX_MERGED_RATIO):
        doubts.of_gaps.append(
            f"{merged_ratio:.2%} of the token chunks came apart and were read together, late "
            f"(bound {MAX_MERGED_RATIO:.1%}): their gaps are merged; use more workers or leave the "
            "driver a core. TTFT is untouched"
        )


def _remark_own_time(doubts: _Doubts, own_time_p99_s: float | None) -> None:
    if own_time_p99_s is not None and own_time_p99_s > TOLD_OWN_TIME_S:
        doubts.remarks.append(
            f"from an answer's end to the next turn the client itself took up to "
            f"{own_time_p99_s:.4f} s (p99), which is no lateness, but a loop without think time "
            "asks that much more slowly; use more workers or leave the driver a core"
        )


def _remark_stamps(doubts: _Doubts, turns: pa.Table) -> None:
    source = time_source_of(turns)
    if turns.num_rows and source != "kernel":
        doubts.remarks.append(
            f"instants are stamped in user space ({source}): TTFT and TBT include the driver's own "
            "scheduling; use plain http on Linux for kernel stamps"
        )
