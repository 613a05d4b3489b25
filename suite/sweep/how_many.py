"""How many conversations a run of a search or of a look asks for, whatever the file says."""

from __future__ import annotations

from suite.playing.workload import Workload
from workloads.spec_conversations import TraceConversations


def so_many(count: int, workload: Workload) -> dict[str, object]:
    """Returns the settings that make a run of so many conversations; a trace has no more than it
    has."""
    if isinstance(workload.spec.conversations, TraceConversations):
        count = min(count, len(workload.plan.conversations))
    return {"conversations.count": count, "conversations.duration": None}
