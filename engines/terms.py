"""Who asks for a turn, and what was promised: what a scheduling policy may know beside the request
itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """A turn's service level. It is kept when the first token comes at most `ttft_s` after the
    arrival, that percentile of its token gaps is at most `tbt_s`, and no gap is above
    `max_gap_s`."""

    ttft_s: float
    tbt_s: float
    tbt_percentile: float = 0.99  # 0–1
    max_gap_s: float | None = None  # None: a percentile alone limits gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Each is None where nobody said it: a policy then falls back on what it knows."""

    user_id: str | None = None
    user_class: str | None = None
    slo: Slo | None = None


UNKNOWN = Terms()  # a request of which nothing is known but itself
