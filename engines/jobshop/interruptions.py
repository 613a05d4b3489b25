"""When work ends although machines fail, and how much of that a policy may know.

Work that is interrupted goes on where it stopped. Nobody enters a machine that is down. A policy
sees that a machine is down and since when, never what is to come: `foreseen_finish` takes the
mean of what an interruption's bounds leave possible.
"""

from __future__ import annotations

from engines.jobshop.compiled import compiled
from engines.jobshop.problem import Shop
from engines.jobshop.state import CLOCK, NOBODY, PROCESSING, State


@compiled
def is_down(shop: Shop, state: State, machine: int) -> bool:
    """Returns whether the machine's own calendar has it down now (nobody may enter)."""
    return bool(shop.window_start[machine, state.window[machine]] <= state.counts[CLOCK])


@compiled
def skip_ended_windows(shop: Shop, state: State) -> None:
    for machine in range(state.window.shape[0]):
        while shop.window_end[machine, state.window[machine]] <= state.counts[CLOCK]:
            state.window[machine] += 1


@compiled
def finish_of(shop: Shop, state: State, job: int, stage: int) -> int:
    """Returns when work begun now on the job's operation will truly end."""
    machine = shop.machine[job, stage]
    finish = state.counts[CLOCK] + shop.duration[job, stage]
    if shop.hit_offset[job, stage] >= 0:
        finish += shop.hit_length[job, stage]
    window = state.window[machine]
    while shop.window_start[machine, window] < finish:
        finish += shop.window_end[machine, window] - shop.window_start[machine, window]
        window += 1
    return int(finish)


@compiled
def down_since(shop: Shop, state: State, machine: int) -> int:
    """Returns when the interruption began that the machine is in now; -1 when it is up."""
    if is_down(shop, state, machine):
        return int(shop.window_start[machine, state.window[machine]])
    job = state.holder[machine]
    if job == NOBODY or state.status[job] != PROCESSING:
        return -1
    stage = state.stage[job]
    if shop.hit_offset[job, stage] < 0:
        return -1
    begins = state.start[job, stage] + shop.hit_offset[job, stage]
    if begins <= state.counts[CLOCK] < begins + shop.hit_length[job, stage]:
        return int(begins)
    return -1


@compiled
def expected_end(shop: Shop, clock: int, since: int) -> int:
    """Returns when an interruption that began then, and goes on, ends in the mean."""
    shortest = max(shop.length_bounds[0], clock - since + 1)
    longest = max(shop.length_bounds[1], shortest)
    return int(since + (shortest + longest + 1) // 2)


@compiled
def lost_so_far(shop: Shop, state: State, job: int) -> int:
    """Returns for how long the job's work, which goes on, has been interrupted up to now."""
    stage, clock = state.stage[job], state.counts[CLOCK]
    start = state.start[job, stage]
    lost = 0
    if shop.hit_offset[job, stage] >= 0:
        begins = start + shop.hit_offset[job, stage]
        lost += max(0, min(clock, begins + shop.hit_length[job, stage]) - begins)
    machine = shop.machine[job, stage]
    window = state.window[machine]
    while window > 0 and shop.window_end[machine, window - 1] > start:
        window -= 1
    while shop.window_start[machine, window] < clock:
        lost += min(clock, shop.window_end[machine, window]) - shop.window_start[machine, window]
        window += 1
    return int(lost)


@compiled
def foreseen_finish(shop: Shop, state: State, job: int) -> int:
    """Returns when the job's work, which goes on, will end as far as anybody can know now."""
    stage, clock = state.stage[job], state.counts[CLOCK]
    worked = clock - state.start[job, stage] - lost_so_far(shop, state, job)
    left = shop.duration[job, stage] - worked
    since = down_since(shop, state, shop.machine[job, stage])
    return int(left + (clock if since < 0 else expected_end(shop, clock, since)))


@compiled
def num_surprises(shop: Shop, state: State) -> int:
    """Returns a number that changes whenever an interruption has begun or ended since."""
    clock, seen = state.counts[CLOCK], 0
    for job in range(state.status.shape[0]):
        for stage in range(state.stage[job] + 1):
            if shop.hit_offset[job, stage] >= 0:
                begins = state.start[job, stage] + shop.hit_offset[job, stage]
                seen += (begins <= clock) + (begins + shop.hit_length[job, stage] <= clock)
    for machine in range(state.window.shape[0]):
        seen += 2 * state.window[machine] + is_down(shop, state, machine)
    return int(seen)


@compiled
def imagine(shop: Shop, state: State, mind: Shop, thought: State) -> None:
    """Makes `mind` and `thought`, which are copies of another instant or of this one, into what a
    policy can foresee: interruptions that go on end in the mean, and no more come."""
    mind.hit_offset[:] = -1
    mind.window_start[:] = 2**62
    mind.window_end[:] = 2**62
    thought.window[:] = 0
    for machine in range(state.holder.shape[0]):
        if is_down(shop, state, machine):
            since = shop.window_start[machine, state.window[machine]]
            mind.window_start[machine, 0] = since
            mind.window_end[machine, 0] = expected_end(shop, state.counts[CLOCK], since)
    for job in range(state.status.shape[0]):
        if state.status[job] == PROCESSING:
            thought.finish_at[job] = foreseen_finish(shop, state, job)
