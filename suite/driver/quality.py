"""How far the driver can be trusted in a run, judged from what it recorded.

The kernel stamps what arrives, so a late read does not falsify a latency. A turn that failed in the
driver itself, or a worker near the end of its core, marks the run invalid. Turns sent late are
told, and weighed where something is judged (suite/judging/lateness.py). Chunks that share a read
have lost the gaps between them, which touches TBT, and TPOT where they came with the first one.
Each doubt says what to do.
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
from suite.records.turn_records import TOGETHER_S, time_source_of
from suite.statistics.arrays import Floats, Ints
from suite.statistics.quantiles import PERCENTILES, quantile, samples_needed

MAX_LAG_S = 0.002
MAX_LAG_SHARE_OF_SLO = 0.05
LATE_RATIO = 0.01  # of the turns may be sent later than the bound: their P99 lies at it
CHANCE_RATIO = 0.05  # so seldom may a driver that keeps to it be called late
MAX_MERGED_RATIO = 0.001  # by the driver: chunks that came apart
MAX_COALESCED_RATIO = 0.01  # by the server: chunks that came together
MAX_TPOT_BIAS_RATIO = 0.01  # of the tokens after an answer's first: what came together with it
MIN_TOKENS_OF_SEVERAL = 1.5  # counted by the server for each that was told apart
MIN_TURNS_OF_P99 = samples_needed(PERCENTILES["p99"])
MAX_CPU_RATIO = 0.7
TOLD_OWN_TIME_S = 0.005
_BUFFERED = (
    "the stream is buffered on its way, or the server writes several tokens at once, so gaps are "
    "those of the writes and TBT can not be judged; have whatever stands between pass on every "
    "event at once (nginx: proxy_buffering off)"
)


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
    """Reasons not to trust the numbers, some of them, and remarks that leave them valid."""

    invalidating: list[str] = field(default_factory=list)
    of_lateness: list[str] = field(default_factory=list)
    of_gaps: list[str] = field(default_factory=list)
    of_tpot: list[str] = field(default_factory=list)
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
    coalesced_ratio, merged_ratio = _coalesced_ratio(turns), _merged_ratio(turns)
    lags_s, own_time_s = _lags_s(turns), _own_time_s(turns)
    doubts = _Doubts(remarks=turn_remarks(turns, asks_ignore_eos=asks_ignore_eos))
    _doubt_lag(doubts, lags_s, max_lag_s(tightest_ttft_slo_s))
    _doubt_failures(doubts, turns)
    _doubt_cpu(doubts, max_cpu_ratio)
    _doubt_gaps(doubts, turns, coalesced_ratio, merged_ratio)
    _doubt_tpot(doubts, _tpot_bias_ratio(turns))
    _remark_own_time(doubts, own_time_s)
    _remark_stamps(doubts, turns)
    return DriverQuality(
        num_workers=num_workers,
        time_source=time_source_of(turns),
        max_cpu_ratio=max_cpu_ratio,
        lag_p99_s=_p99(lags_s),
        lag_max_s=float(lags_s.max()) if len(lags_s) else None,
        is_late=bool(doubts.of_lateness),
        coalesced_ratio=coalesced_ratio,
        merged_ratio=merged_ratio,
        own_time_p99_s=_p99(own_time_s),
        tbt_doubt="; ".join(doubts.of_gaps) or None,
        tpot_doubt="; ".join(doubts.of_tpot) or None,
        is_valid=not doubts.invalidating,
        warnings=doubts.invalidating
        + doubts.of_lateness
        + doubts.of_gaps
        + doubts.of_tpot
        + doubts.remarks,
    )


def _lags_s(turns: pa.Table) -> Floats:
    lags_s: Floats = pc.drop_null(pc.subtract(turns["sent_at"], turns["scheduled_at"])).to_numpy()
    return lags_s


def _own_time_s(turns: pa.Table) -> Floats:
    """Returns the times after answer and think time until the next turn could be sent."""
    later = turns.filter(pc.greater(turns["turn"], 0))
    own_s: Floats = pc.drop_null(pc.subtract(later["scheduled_at"], later["planned_at"])).to_numpy()
    return own_s


def _p99(samples: Floats) -> float | None:
    """None for so few samples that it would be their largest."""
    if len(samples) < MIN_TURNS_OF_P99:
        return None
    return quantile(np.sort(samples), PERCENTILES["p99"])


def _coalesced_ratio(turns: pa.Table) -> float:
    """Returns the share of chunks that came together with another, of all with tokens."""
    return _share_of_chunks(turns, "num_shared_chunks")


def _merged_ratio(turns: pa.Table) -> float:
    """Returns the share of chunks that this machine joined, or may have joined, of all chunks."""
    own = pc.coalesce(turns["num_merged_chunks"], turns["num_shared_chunks"])
    return _share_of_chunks(turns.append_column("num_own_chunks", own), "num_own_chunks")


def _unknown_ratio(turns: pa.Table) -> float:
    """Returns the share of chunks of which nobody can tell who joined them, of all chunks."""
    unknown = turns.filter(pc.is_null(turns["num_merged_chunks"]))
    num_chunks = _num_chunks(turns)
    return (pc.sum(unknown["num_shared_chunks"]).as_py() or 0) / num_chunks if num_chunks else 0.0


def _tpot_bias_ratio(turns: pa.Table) -> float:
    """Returns by what share TPOT is too small: the tokens that came together with an answer's first
    one, in no time, of all tokens after the first. Of turns that have a TPOT."""
    has_one = pc.and_(
        pc.is_null(turns["error"]), pc.greater(pc.list_value_length(turns["token_at"]), 1)
    )
    good = turns.filter(has_one)
    if not good.num_rows:
        return 0.0
    at, num_chunks = _flat(good["token_at"]), _lengths(good["token_at"])
    tokens = _flat(good["tokens_per_chunk"]).astype(np.float64)
    first = np.cumsum(num_chunks) - num_chunks
    is_apart = np.diff(at, prepend=at[0]) >= TOGETHER_S
    is_apart[first] = False
    num_apart = np.cumsum(is_apart)
    is_with_first = num_apart == np.repeat(num_apart[first], num_chunks)
    received = np.add.reduceat(tokens, first)
    counted = pc.fill_null(pc.cast(good["num_output_tokens"], pa.float64()), np.nan).to_numpy()
    counted = np.where(np.isnan(counted), received, counted)
    per_chunk = counted / received  # a count that is one off tells of no chunk with several tokens
    per_chunk = np.where(per_chunk >= MIN_TOKENS_OF_SEVERAL, per_chunk, 1.0)
    together = np.add.reduceat(tokens * is_with_first, first) * per_chunk
    following = np.maximum(counted - 1, 0.0)
    total = float(following.sum())
    return float(np.clip(together - 1, 0.0, following).sum()) / total if total else 0.0


def _flat(lists: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.list_flatten(lists).to_numpy())


def _lengths(lists: pa.ChunkedArray) -> Ints:
    return np.asarray(pc.list_value_length(lists).to_numpy(), dtype=np.int64)


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
        doubts.of_lateness.append(
            f"{several(num_late, 'turn')} of {len(lags_s):,} were sent more than {bound_s:g} s "
            f"late, the latest by {lags_s.max():.4f} s: what that could have changed is weighed in "
            "each gate and comparison; use more workers, leave the driver a core, or let it run "
            "with real-time priority (ulimit -r 1)"
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
    doubts: _Doubts, turns: pa.Table, coalesced_ratio: float, merged_ratio: float
) -> None:
    from_server, num_chunks = coalesced_ratio - merged_ratio, _num_chunks(turns)
    unknown_ratio = _unknown_ratio(turns)
    if from_server > max(MAX_COALESCED_RATIO, merged_ratio):
        doubts.of_gaps.append(
            f"{from_server:.1%} of the token chunks came together with another, in one packet or "
            f"one burst (bound {MAX_COALESCED_RATIO:.0%}): {_BUFFERED}"
        )
    elif unknown_ratio > MAX_COALESCED_RATIO:
        doubts.of_gaps.append(
            f"{unknown_ratio:.1%} of the token chunks were read together with another (bound "
            f"{MAX_COALESCED_RATIO:.0%}), and over TLS nobody can tell whose doing that is: "
            f"most likely {_BUFFERED}"
        )
    elif is_beyond_chance(round(merged_ratio * num_chunks), num_chunks, MAX_MERGED_RATIO):
        doubts.of_gaps.append(
            f"{merged_ratio:.2%} of the token chunks came apart and were read together, late "
            f"(bound {MAX_MERGED_RATIO:.1%}): their gaps are merged; use more workers or leave the "
            "driver a core. TTFT is untouched"
        )


def _doubt_tpot(doubts: _Doubts, bias_ratio: float) -> None:
    if bias_ratio > MAX_TPOT_BIAS_RATIO:
        doubts.of_tpot.append(
            f"{bias_ratio:.1%} of the tokens after an answer's first one came together with it "
            f"(bound {MAX_TPOT_BIAS_RATIO:.0%}): TPOT is too small by as much and can not be "
            "judged; have the server, and whatever stands between, send each token at once"
        )


def _remark_own_time(doubts: _Doubts, own_time_s: Floats) -> None:
    if not len(own_time_s):
        return
    p99 = _p99(own_time_s)
    longest = float(own_time_s.max()) if p99 is None else p99
    if longest > TOLD_OWN_TIME_S:
        doubts.remarks.append(
            f"from an answer's end to the next turn the client itself took up to {longest:.4f} s "
            f"({'the longest' if p99 is None else 'p99'}), which is no lateness, but a loop "
            "without think time asks that much more slowly; use more workers or leave the driver "
            "a core"
        )


def _remark_stamps(doubts: _Doubts, turns: pa.Table) -> None:
    source = time_source_of(turns)
    if turns.num_rows and source != "kernel":
        doubts.remarks.append(
            f"instants are stamped in user space ({source}): TTFT and TBT include the driver's own "
            "scheduling; use plain http on Linux for kernel stamps"
        )
