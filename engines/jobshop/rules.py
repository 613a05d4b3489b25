"""Dispatching rules: a number for each candidate, the smallest is loaded, ties fall by chance.

FIFO, LIFO: first or last to wait for the machine. SPT, LPT: shortest or longest next operation.
STPT, LTPT: least or most work in the whole job. MOR, LOR: most or least operations left. MWKR,
LWKR: most or least work left. LQNO, SQNO: most or fewest jobs waiting for the machine after the
next operation. With `blocked_first`, jobs that block a machine come before those still outside.
"""

from __future__ import annotations

from engines.jobshop.chance import Chance, uniform
from engines.jobshop.compiled import compiled
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.state import OUTSIDE, State

RULES = (
    "fifo", "lifo", "spt", "lpt", "stpt", "ltpt", "mor", "lor", "mwkr", "lwkr", "lqno", "sqno",
    "random",
)  # fmt: skip
RANDOM = RULES.index("random")
_FAR = 2**60


@compiled
def rank(rule: int, shop: Shop, state: State, job: int) -> int:
    """Returns the job's number under the rule; the smallest goes first. The rule is a place in
    RULES: even ones want the smallest of what they look at, odd ones the largest."""
    stage = state.stage[job] + 1
    half = rule // 2
    if half == 0:
        value = state.since[job]
    elif half == 1:
        value = shop.duration[job, stage]
    elif half == 2:
        value = shop.tail[job, 0]
    elif half == 3:  # mor first
        value = stage - shop.machine.shape[1]
    elif half == 4:  # mwkr first
        value = -shop.tail[job, stage]
    elif half == 5:  # lqno first
        value = -_next_queue(shop, state, job, stage)
    else:
        value = 0
    return int(value) if rule % 2 == 0 else -int(value)


@compiled
def choose_by_rule(
    rule: int,
    blocked_first: bool,
    shop: Shop,
    state: State,
    found: Integers,
    count: int,
    chance: Chance,
) -> int:
    """Returns the job among the first `count` of `found` that the rule loads."""
    best, best_rank, ties = found[0], 2**62, 0
    for place in range(count):
        job = found[place]
        value = rank(rule, shop, state, job)
        if blocked_first and state.status[job] == OUTSIDE:
            value += _FAR
        if value < best_rank:
            best, best_rank, ties = job, value, 1
        elif value == best_rank:
            ties += 1
            if uniform(chance) * ties < 1.0:
                best = job
    return int(best)


@compiled
def _next_queue(shop: Shop, state: State, job: int, stage: int) -> int:
    if stage + 1 == shop.machine.shape[1]:
        return 0
    return int(state.num_waiting[shop.machine[job, stage + 1]])
