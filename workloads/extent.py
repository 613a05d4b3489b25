"""The number of conversations that a workload asks for."""

from __future__ import annotations

from workloads.arrivals import num_starting_within
from workloads.conversations import Wanted
from workloads.errors import WorkloadError
from workloads.rate_profile import rate_profile
from workloads.spec import WorkloadSpec
from workloads.spec_traffic import ClosedArrivals, TraceArrivals
from workloads.units import duration_text


def wanted_conversations(spec: WorkloadSpec) -> Wanted:
    """Returns the number that the file gives, or that its duration comes to. Raises
    WorkloadError."""
    arrivals, conversations = spec.arrivals, spec.conversations
    duration_s, key = conversations.duration, "conversations.duration"
    profile = rate_profile(arrivals)
    if profile is not None and duration_s is None and conversations.count is None:
        duration_s, key = profile.duration_s, f"arrivals.process {arrivals.process}"
    if duration_s is None:
        return Wanted(count=conversations.count)
    assert not isinstance(arrivals, ClosedArrivals), "refused with the file"
    if isinstance(arrivals, TraceArrivals):
        return Wanted(count=None, span_us=duration_s * 1e6 / arrivals.scale)
    count = num_starting_within(arrivals, duration_s, spec.seed)
    if not count:
        raise WorkloadError(
            f"{key}: no conversation starts within {duration_text(duration_s)}; lengthen it or "
            "raise the rate"
        )
    return Wanted(count=count, why=f"the starts within {key} of {duration_text(duration_s)}")
