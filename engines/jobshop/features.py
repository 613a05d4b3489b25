"""What the linear rule knows of a candidate, in numbers around one, whatever the shop's size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.jobshop.compiled import compiled
from engines.jobshop.interruptions import foreseen_finish, is_down
from engines.jobshop.problem import Shop
from engines.jobshop.simulator import wants
from engines.jobshop.state import (
    BLOCKED,
    CLOCK,
    NOBODY,
    NUM_DONE,
    NUM_OUTSIDE,
    NUM_PROCESSING,
    OUTSIDE,
    PROCESSING,
    State,
)

FEATURES = (
    "duration", "work left", "operations left", "work of the job", "waits", "outside",
    "jobs inside, if outside", "next machine is free", "next machine is down",
    "jobs waiting for the next machine", "time until the next machine's work ends",
    "the next machine is blocked", "its holder wants this machine", "last operation",
    "jobs waiting for the machine it frees",
)  # fmt: skip
IDLE_FEATURES = ("always", "jobs inside", "machines working", "candidates are all outside")
NUM_FEATURES, NUM_IDLE_FEATURES = len(FEATURES), len(IDLE_FEATURES)
FEATURES_VERSION = 1

Floats = npt.NDArray[np.float64]


@compiled
def describe_candidate(shop: Shop, state: State, job: int, out: Floats) -> None:
    """Writes the job's FEATURES into `out`."""
    jobs, machines = shop.machine.shape
    stage, unit = state.stage[job] + 1, shop.mean_duration
    inside = jobs - state.counts[NUM_OUTSIDE] - state.counts[NUM_DONE]
    outside = 1.0 if state.status[job] == OUTSIDE else 0.0
    out[:] = 0.0
    out[0] = shop.duration[job, stage] / unit
    out[1] = shop.tail[job, stage] / (unit * machines)
    out[2] = (machines - stage) / machines
    out[3] = shop.tail[job, 0] / (unit * machines)
    out[4] = min(10.0, (state.counts[CLOCK] - state.since[job]) / unit) * (1.0 - outside)
    out[5] = outside
    out[6] = outside * inside / machines
    if outside == 0.0:
        out[14] = state.num_waiting[shop.machine[job, stage - 1]] / machines
    if stage + 1 == machines:
        out[13] = 1.0
        return
    _describe_next(shop, state, job, stage, out)


@compiled
def _describe_next(shop: Shop, state: State, job: int, stage: int, out: Floats) -> None:
    target = shop.machine[job, stage + 1]
    holder = state.holder[target]
    out[8] = 1.0 if is_down(shop, state, target) else 0.0
    out[9] = state.num_waiting[target] / shop.machine.shape[1]
    if holder in (NOBODY, job):
        out[7] = 1.0
        return
    if state.status[holder] == PROCESSING:
        left = max(0, foreseen_finish(shop, state, holder) - state.counts[CLOCK])
        out[10] = left / shop.mean_duration
        onward = state.stage[holder] + 1
        if onward < shop.machine.shape[1]:
            out[12] = 1.0 if shop.machine[holder, onward] == shop.machine[job, stage] else 0.0
    elif state.status[holder] == BLOCKED:
        out[11] = 1.0
        if wants(shop, state, holder) == shop.machine[job, stage]:
            out[12] = 1.0


@compiled
def describe_idling(shop: Shop, state: State, all_outside: bool, out: Floats) -> None:
    """Writes IDLE_FEATURES into `out`."""
    jobs, machines = shop.machine.shape
    inside = jobs - state.counts[NUM_OUTSIDE] - state.counts[NUM_DONE]
    out[0] = 1.0
    out[1] = inside / machines
    out[2] = state.counts[NUM_PROCESSING] / machines
    out[3] = 1.0 if all_outside else 0.0
