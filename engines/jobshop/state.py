"""A schedule in the making: where each job is, who holds each machine, and what has happened."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engines.jobshop.compiled import compiled
from engines.jobshop.problem import Integers, Shop

# Where a job is.
OUTSIDE, PROCESSING, BLOCKED, DONE = 0, 1, 2, 3
# Places in State.counts.
CLOCK, NUM_DONE, NUM_DECISIONS, NUM_IDLES, NUM_ROTATIONS, NUM_PROCESSING = 0, 1, 2, 3, 4, 5
NUM_OUTSIDE = 6
NUM_COUNTS = 7
NOBODY = -1


class State(NamedTuple):
    counts: Integers  # [NUM_COUNTS]
    status: Integers  # [n]
    stage: Integers  # [n]: which operation it is in, or was last; -1 outside
    finish_at: Integers  # [n]: the end of that operation's work, interruptions counted
    since: Integers  # [n]: since when it waits for its next operation
    holder: Integers  # [m]: the job on a machine, or NOBODY
    num_waiting: Integers  # [m]: jobs that want it next
    declined: Integers  # [m]: 1 where the policy has left it idle at this instant
    window: Integers  # [m]: its first window that has not ended
    start: Integers  # [n, m], -1 where it has not begun
    completion: Integers  # [n, m]: the end of the work
    departure: Integers  # [n, m]: when the job left the machine


def new_state(shop: Shop) -> State:
    """Returns the beginning: all jobs outside, all machines free, clock 0."""
    jobs, machines = shop.machine.shape
    state = State(
        counts=np.empty(NUM_COUNTS, dtype=np.int64),
        status=np.empty(jobs, dtype=np.int64),
        stage=np.empty(jobs, dtype=np.int64),
        finish_at=np.empty(jobs, dtype=np.int64),
        since=np.empty(jobs, dtype=np.int64),
        holder=np.empty(machines, dtype=np.int64),
        num_waiting=np.empty(machines, dtype=np.int64),
        declined=np.empty(machines, dtype=np.int64),
        window=np.empty(machines, dtype=np.int64),
        start=np.empty((jobs, machines), dtype=np.int64),
        completion=np.empty((jobs, machines), dtype=np.int64),
        departure=np.empty((jobs, machines), dtype=np.int64),
    )
    restart(shop, state)
    return state


@compiled
def restart(shop: Shop, state: State) -> None:
    """Puts the state back to the beginning."""
    state.counts[:] = 0
    state.counts[NUM_OUTSIDE] = shop.machine.shape[0]
    state.status[:] = OUTSIDE
    state.stage[:] = -1
    state.finish_at[:] = 0
    state.since[:] = 0
    state.holder[:] = NOBODY
    state.num_waiting[:] = 0
    state.declined[:] = 0
    state.window[:] = 0
    state.start[:] = -1
    state.completion[:] = -1
    state.departure[:] = -1
    for job in range(shop.machine.shape[0]):
        state.num_waiting[shop.machine[job, 0]] += 1


@compiled
def copy_state(source: State, target: State) -> None:
    """Makes the target, of the same shape, equal to the source."""
    target.counts[:] = source.counts
    target.status[:] = source.status
    target.stage[:] = source.stage
    target.finish_at[:] = source.finish_at
    target.since[:] = source.since
    target.holder[:] = source.holder
    target.num_waiting[:] = source.num_waiting
    target.declined[:] = source.declined
    target.window[:] = source.window
    target.start[:] = source.start
    target.completion[:] = source.completion
    target.departure[:] = source.departure


@compiled
def makespan(state: State) -> int:
    """Returns when the last job left, of those that have."""
    return int(state.departure.max())
