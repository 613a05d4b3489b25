"""What happened, as instants and counts: one row a turn, never a derived number.

Instants are float seconds after the run's start, on the driver's CLOCK_MONOTONIC. The start itself
(absolute CLOCK_MONOTONIC seconds) stands in the file's schema metadata as `started_at_monotonic_s`,
so that an engine's own log of the same host can be laid beside it.

Rows are appended to an Arrow stream while the run goes on (a killed run stays readable up to its
last flushed batch) and rewritten as Parquet when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    conversation_id: str
    turn: int  # 0 = the conversation's first
    user_id: str
    user_class: str
    priority: int | None  # as sent; None when the workload has none
    planned_output_tokens: int
    scheduled_at: float  # planned start, or previous answer's end + think time
    sent_at: float | None  # just before the request's first byte went out; None = never sent
    token_at: tuple[float, ...]  # receive instant of each chunk that carried at least one token
    tokens_per_chunk: tuple[int, ...]  # same length as token_at
    done_at: float | None  # last byte received, or the failure
    num_prompt_tokens: int | None  # as counted by the server, history included
    num_cached_tokens: int | None  # of those, how many the server says it did not recompute
    num_output_tokens: int | None  # as counted by the server
    num_coalesced: int  # reads that carried more than one token event: their gaps are merged
    time_source: str  # "kernel" (SO_TIMESTAMPNS) or "user"
    finish_reason: str | None
    error: str | None  # one line; None = the turn succeeded
