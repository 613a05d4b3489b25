"""The number of conversations that a workload asks for."""

from __future__ import annotations

from math import ceil

from workloads.arrivals import num_starting_within
from workloads.bounds import MAX_CONVERSATIONS
from workloads.conversations import Wanted
from workloads.errors import WorkloadError
from workloads.rate_profile import rate_profile
from workloads.spec import WorkloadSpec
from workloads.spec_conversations import ConversationsSpec
from workloads.spec_traffic import ClosedArrivals, TraceArrivals
from workloads.units import duration_text

MOST_PER_STREAM_AND_S = 1.0  # conversations in a closed loop's plan, unless `count` is given


def wanted_conversations(spec: WorkloadSpec) -> Wanted:
    """Returns the number that the file gives, or that its duration comes to. Raises
    WorkloadError."""
    arrivals, conversations = spec.arrivals, spec.conversations
    if isinstance(arrivals, ClosedArrivals) and conversations.duration is not None:
        return _most_of_closed_loop(arrivals, conversations, conversations.duration)
    duration_s, key = conversations.duration, "conversations.duration"
    profile = rate_profile(arrivals)
    if profile is not None and duration_s is None and conversations.count is None:
        duration_s, key = profile.duration_s, f"arrivals.process {arrivals.process}"
    if duration_s is None:
        return Wanted(count=conversations.count)
    assert not isinstance(arrivals, ClosedArrivals), "it has its own number"
    if isinstance(arrivals, TraceArrivals):
        return Wanted(count=None, span_us=duration_s * 1e6 / arrivals.scale)
    count = num_starting_within(arrivals, duration_s, spec.seed)
    if not count:
        raise WorkloadError(
            f"{key}: no conversation starts within {duration_text(duration_s)}; lengthen it or "
            "raise the rate"
        )
    return Wanted(count=count, why=f"the starts within {key} of {duration_text(duration_s)}")


def closed_duration(spec: WorkloadSpec) -> float | None:
    """Returns after how many seconds a closed loop asks no more; None where it asks all."""
    is_closed = isinstance(spec.arrivals, ClosedArrivals)
    return spec.conversations.duration if is_closed else None


def _most_of_closed_loop(
    arrivals: ClosedArrivals, conversations: ConversationsSpec, duration_s: float
) -> Wanted:
    """Returns the number that a closed loop's duration is held in stock for: nobody knows how many
    it will begin. Raises WorkloadError."""
    if conversations.count is not None:
        return Wanted(count=conversations.count, is_most=True)
    count = arrivals.concurrency * max(1, ceil(duration_s * MOST_PER_STREAM_AND_S))
    if count > MAX_CONVERSATIONS:
        raise WorkloadError(
            f"conversations.duration {duration_text(duration_s)} with arrivals.concurrency "
            f"{arrivals.concurrency:,} holds {count:,} conversations ready, more than "
            f"{MAX_CONVERSATIONS:,}; give the most that can be begun as conversations.count"
        )
    return Wanted(count=count, is_most=True)
