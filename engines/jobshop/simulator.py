"""The shop's own laws, event by event, in whole units of time.

At each event: work ends, and a job that is through leaves, while another blocks its machine until
the next one takes it; cycles of blocked jobs, each waiting for the machine of the next, move all
at once; then each machine that is free and up, the lowest number first, is offered to the jobs
that want it, and the policy loads one or leaves it idle until the next event. Loading a blocked
job frees the machine it held, which is then offered too.
"""

from __future__ import annotations

from engines.jobshop.compiled import compiled
from engines.jobshop.interruptions import finish_of, is_down, skip_ended_windows
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.state import (
    BLOCKED,
    CLOCK,
    DONE,
    NOBODY,
    NUM_DECISIONS,
    NUM_DONE,
    NUM_IDLES,
    NUM_OUTSIDE,
    NUM_PROCESSING,
    NUM_ROTATIONS,
    OUTSIDE,
    PROCESSING,
    State,
)

ALL_DONE = -1
IDLE = -1


@compiled
def to_decision(shop: Shop, state: State) -> int:
    """Runs on to where the policy is asked. Returns the machine, or ALL_DONE."""
    while True:
        machine = _offered(shop, state)
        if machine >= 0:
            return machine
        if state.counts[NUM_DONE] == state.status.shape[0]:
            return ALL_DONE
        _to_event(shop, state, _next_event(shop, state))


@compiled
def load(shop: Shop, state: State, job: int) -> None:
    """Puts the job, which waits for a machine that is free and up, on it."""
    state.counts[NUM_DECISIONS] += 1
    _leave(shop, state, job)
    _enter(shop, state, job)


@compiled
def idle(state: State, machine: int) -> None:
    """Leaves the machine idle until the next event."""
    state.counts[NUM_DECISIONS] += 1
    state.counts[NUM_IDLES] += 1
    state.declined[machine] = 1


@compiled
def act(shop: Shop, state: State, machine: int, job: int) -> None:
    """Does what was chosen for the machine: a job, or IDLE."""
    if job == IDLE:
        idle(state, machine)
    else:
        load(shop, state, job)


@compiled
def candidates(shop: Shop, state: State, machine: int, found: Integers) -> int:
    """Writes the jobs that want the machine into `found` [n], in order. Returns how many."""
    count = 0
    for job in range(state.status.shape[0]):
        if wants(shop, state, job) == machine:
            found[count] = job
            count += 1
    return count


@compiled
def wants(shop: Shop, state: State, job: int) -> int:
    """Returns the machine that the job waits for, or NOBODY when it waits for none."""
    if state.status[job] == OUTSIDE or state.status[job] == BLOCKED:
        return int(shop.machine[job, state.stage[job] + 1])
    return NOBODY


@compiled
def may_idle(shop: Shop, state: State, machine: int) -> bool:
    """Returns whether the machine may be left idle: something else is to come, or another machine
    can still be loaded at this instant. Without, idling would end nothing."""
    if state.counts[NUM_PROCESSING] > 0:
        return True
    for other in range(state.holder.shape[0]):
        if other != machine and _is_offered(shop, state, other):
            return True
        if state.num_waiting[other] > 0 and is_down(shop, state, other):
            return True
    return False


@compiled
def _is_offered(shop: Shop, state: State, machine: int) -> bool:
    return bool(
        state.num_waiting[machine] > 0
        and state.holder[machine] == NOBODY
        and state.declined[machine] == 0
        and not is_down(shop, state, machine)
    )


@compiled
def _offered(shop: Shop, state: State) -> int:
    for machine in range(state.holder.shape[0]):
        if _is_offered(shop, state, machine):
            return machine
    return -1


@compiled
def _next_event(shop: Shop, state: State) -> int:
    """Returns when work ends next, or a machine comes back that somebody waits for."""
    instant = 2**62
    for job in range(state.status.shape[0]):
        if state.status[job] == PROCESSING and state.finish_at[job] < instant:
            instant = state.finish_at[job]
    for machine in range(state.holder.shape[0]):
        if state.num_waiting[machine] > 0 and is_down(shop, state, machine):
            instant = min(instant, shop.window_end[machine, state.window[machine]])
    assert instant < 2**62, "nothing is to come, and jobs are left: idle where it may not be"
    return int(instant)


@compiled
def _to_event(shop: Shop, state: State, instant: int) -> None:
    state.counts[CLOCK] = instant
    state.declined[:] = 0
    skip_ended_windows(shop, state)
    for job in range(state.status.shape[0]):
        if state.status[job] == PROCESSING and state.finish_at[job] == instant:
            _complete(shop, state, job)
    for job in range(state.status.shape[0]):
        if state.status[job] == BLOCKED and _is_in_cycle(shop, state, job):
            _rotate(shop, state, job)


@compiled
def _complete(shop: Shop, state: State, job: int) -> None:
    stage = state.stage[job]
    state.completion[job, stage] = state.counts[CLOCK]
    state.counts[NUM_PROCESSING] -= 1
    if stage + 1 < shop.machine.shape[1]:
        state.status[job] = BLOCKED
        state.since[job] = state.counts[CLOCK]
        state.num_waiting[shop.machine[job, stage + 1]] += 1
        return
    state.status[job] = DONE
    state.counts[NUM_DONE] += 1
    state.departure[job, stage] = state.counts[CLOCK]
    state.holder[shop.machine[job, stage]] = NOBODY


@compiled
def _is_in_cycle(shop: Shop, state: State, first: int) -> bool:
    """Returns whether following who holds what each wants leads back, over machines that are up."""
    job = first
    for _ in range(state.holder.shape[0]):
        machine = wants(shop, state, job)
        job = state.holder[machine]
        if job == NOBODY or state.status[job] != BLOCKED or is_down(shop, state, machine):
            return False
        if job == first:
            return True
    return False


@compiled
def _rotate(shop: Shop, state: State, first: int) -> None:
    """Moves every job of the cycle at once: each enters where the next one was."""
    state.counts[NUM_ROTATIONS] += 1
    job = first
    while True:
        machine = wants(shop, state, job)
        follower = state.holder[machine]
        state.departure[job, state.stage[job]] = state.counts[CLOCK]
        _enter(shop, state, job)
        if follower == first:
            return
        job = follower


@compiled
def _leave(shop: Shop, state: State, job: int) -> None:
    if state.status[job] == OUTSIDE:
        state.counts[NUM_OUTSIDE] -= 1
        return
    stage = state.stage[job]
    state.departure[job, stage] = state.counts[CLOCK]
    state.holder[shop.machine[job, stage]] = NOBODY


@compiled
def _enter(shop: Shop, state: State, job: int) -> None:
    stage = state.stage[job] + 1
    machine = shop.machine[job, stage]
    state.num_waiting[machine] -= 1
    state.holder[machine] = job
    state.stage[job] = stage
    state.status[job] = PROCESSING
    state.counts[NUM_PROCESSING] += 1
    state.start[job, stage] = state.counts[CLOCK]
    state.finish_at[job] = finish_of(shop, state, job, stage)
