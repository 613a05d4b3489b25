"""`fsbench run --solo`: the plan once more without any neighbour, to know what contention costs.

The solo run is a run directory of its own inside the run, `solo/`: the same users, conversations
and turns, one conversation at a time and without think times, once for each engine.
"""

from __future__ import annotations

from dataclasses import replace

from suite.playing.workload import Workload


def solo_workload(workload: Workload) -> Workload:
    """Returns the workload with one conversation at a time, in the plan's order, and no gates."""
    alone = tuple(
        replace(each, turns=tuple(replace(turn, think_time_s=0.0) for turn in each.turns))
        for each in workload.plan.conversations
    )
    return replace(
        workload,
        spec=workload.spec.model_copy(update={"repeats": 1, "gates": []}),
        plan=replace(workload.plan, conversations=alone, closed_concurrency=1),
    )
