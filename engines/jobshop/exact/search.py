"""The least makespan that decisions can reach: every load and every IDLE tried, by branch and
bound over the simulator itself. For small shops.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engines.jobshop.base_rule import play_on, rule_of
from engines.jobshop.chance import chance_of
from engines.jobshop.compiled import compiled
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.rollout import FAR
from engines.jobshop.simulator import ALL_DONE, IDLE, act, candidates, may_idle, to_decision
from engines.jobshop.state import (
    CLOCK,
    DONE,
    NOBODY,
    PROCESSING,
    State,
    copy_state,
    makespan,
    new_state,
    restart,
)

TRIES = 200  # random schedules, for a first makespan to beat


class Stack(NamedTuple):
    """One row a decision on the way down."""

    states: State  # every array with a first axis more
    machine: Integers  # [d]
    choices: Integers  # [d, n + 1]
    left: Integers  # [d]: choices not yet tried


def least_makespan(shop: Shop, *, idles: bool = True) -> int:
    """Returns the least makespan over all sequences of decisions; without `idles`, over those that
    always load."""
    state, chance = new_state(shop), chance_of(0)
    found = np.empty(shop.machine.shape[0], dtype=np.int64)
    rule, best = rule_of("random", blocked_first=True), FAR
    for _ in range(TRIES):
        restart(shop, state)
        best = min(best, play_on(rule, shop, state, found, chance, FAR))
    return int(search(shop, _new_stack(shop), best, idles))


@compiled
def search(shop: Shop, stack: Stack, best: int, idles: bool) -> int:
    """Returns the least makespan, `best` where none is less."""
    depth = 0
    restart(shop, state_at(stack, 0))
    best = _arrive(shop, stack, 0, best, idles)
    while depth >= 0:
        if stack.left[depth] == 0:
            depth -= 1
            continue
        stack.left[depth] -= 1
        below = state_at(stack, depth + 1)
        copy_state(state_at(stack, depth), below)
        act(shop, below, stack.machine[depth], stack.choices[depth, stack.left[depth]])
        best = _arrive(shop, stack, depth + 1, best, idles)
        depth += 1
    return best


@compiled
def state_at(stack: Stack, depth: int) -> State:
    """Returns the row's state, as views."""
    each = stack.states
    return State(
        each.counts[depth],
        each.status[depth],
        each.stage[depth],
        each.finish_at[depth],
        each.since[depth],
        each.holder[depth],
        each.num_waiting[depth],
        each.declined[depth],
        each.window[depth],
        each.start[depth],
        each.completion[depth],
        each.departure[depth],
    )


@compiled
def _arrive(shop: Shop, stack: Stack, depth: int, best: int, idles: bool) -> int:
    """Runs the row on to its decision and lists its choices, none where it can not end before
    `best`. Returns the best makespan so far."""
    state = state_at(stack, depth)
    machine = to_decision(shop, state)
    stack.left[depth] = 0
    if machine == ALL_DONE:
        return min(best, makespan(state))
    if earliest_end(shop, state) >= best:
        return best
    count = candidates(shop, state, machine, stack.choices[depth])
    if idles and may_idle(shop, state, machine):
        stack.choices[depth, count] = stack.choices[depth, 0]  # idling is tried last
        stack.choices[depth, 0] = IDLE
        count += 1
    stack.machine[depth] = machine
    stack.left[depth] = count
    return best


@compiled
def earliest_end(shop: Shop, state: State) -> int:
    """Returns a bound: each job at once from here, each machine without a pause. What is to
    interrupt them comes on top."""
    clock, end = state.counts[CLOCK], 0
    load = np.zeros(shop.machine.shape[1], dtype=np.int64)
    for job in range(state.status.shape[0]):
        if state.status[job] == DONE:
            continue
        stage = state.stage[job]
        begins = clock
        if state.status[job] == PROCESSING:
            begins = state.finish_at[job]
            load[shop.machine[job, stage]] += begins - clock
        end = max(end, begins + shop.tail[job, stage + 1])
        for later in range(stage + 1, shop.machine.shape[1]):
            load[shop.machine[job, later]] += shop.duration[job, later]
    return int(max(end, clock + load.max()))


def _new_stack(shop: Shop) -> Stack:
    jobs, machines = shop.machine.shape
    depth = jobs * machines * (machines + 1) + machines + 2
    rows = (np.empty((depth, *each.shape), dtype=np.int64) for each in new_state(shop))
    return Stack(
        State(*rows),
        np.full(depth, NOBODY, dtype=np.int64),
        np.empty((depth, jobs + 1), dtype=np.int64),
        np.zeros(depth, dtype=np.int64),
    )
