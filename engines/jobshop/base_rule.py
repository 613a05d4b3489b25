"""A rule that compiled loops can play to the end: one of RULES, or a weighted sum of features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engines.jobshop.chance import Chance, uniform
from engines.jobshop.compiled import compiled
from engines.jobshop.features import (
    NUM_FEATURES,
    NUM_IDLE_FEATURES,
    Floats,
    describe_candidate,
    describe_idling,
)
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.rules import RULES, choose_by_rule
from engines.jobshop.simulator import ALL_DONE, IDLE, act, candidates, may_idle, to_decision
from engines.jobshop.state import OUTSIDE, State

LINEAR = len(RULES)
NUM_WEIGHTS = NUM_FEATURES + NUM_IDLE_FEATURES


class BaseRule(NamedTuple):
    rule: int  # a place in RULES, or LINEAR
    blocked_first: bool
    weights: Floats  # [NUM_WEIGHTS]: of candidates, then of idling; read by LINEAR alone
    noise: float = 0.0  # of LINEAR: choices are drawn as a softmax over scores / noise would


def rule_of(name: str, *, blocked_first: bool) -> BaseRule:
    """Returns the rule of that name in RULES."""
    return BaseRule(RULES.index(name), blocked_first, np.zeros(NUM_WEIGHTS), 0.0)


def linear_rule(weights: Floats, *, noise: float = 0.0) -> BaseRule:
    """Returns the rule that takes what scores highest, or idles where idling does."""
    assert weights.shape == (NUM_WEIGHTS,), weights.shape
    return BaseRule(LINEAR, False, np.ascontiguousarray(weights, dtype=np.float64), noise)


@compiled
def choose(
    base: BaseRule,
    shop: Shop,
    state: State,
    machine: int,
    found: Integers,
    count: int,
    chance: Chance,
) -> int:
    """Returns the job among the first `count` of `found` that the rule loads, or IDLE."""
    if base.rule < LINEAR:
        return choose_by_rule(base.rule, base.blocked_first, shop, state, found, count, chance)
    row = np.empty(NUM_FEATURES)
    best, best_score, all_outside = IDLE, -np.inf, True
    for place in range(count):
        job = found[place]
        all_outside = all_outside and state.status[job] == OUTSIDE
        describe_candidate(shop, state, job, row)
        score = 0.0
        for each in range(NUM_FEATURES):
            score += row[each] * base.weights[each]
        score += _gumbel(base, chance)
        if score > best_score:
            best, best_score = int(job), score
    if may_idle(shop, state, machine):
        idling = _idle_score(base, shop, state, all_outside) + _gumbel(base, chance)
        if best_score < idling:
            return IDLE
    return best


@compiled
def play_on(
    base: BaseRule, shop: Shop, state: State, found: Integers, chance: Chance, limit: int
) -> int:
    """Plays by the rule from where the shop stands to its end, or until the clock has reached
    `limit`. Returns the makespan, or `limit`."""
    machine = to_decision(shop, state)
    while machine != ALL_DONE:
        if state.counts[0] >= limit:
            return limit
        count = candidates(shop, state, machine, found)
        act(shop, state, machine, choose(base, shop, state, machine, found, count, chance))
        machine = to_decision(shop, state)
    return int(state.departure.max())


@compiled
def _gumbel(base: BaseRule, chance: Chance) -> float:
    """Returns what, added to scores, makes the highest one a draw from their softmax."""
    if base.noise == 0.0:
        return 0.0
    return -base.noise * float(np.log(-np.log(uniform(chance) + 1e-12) + 1e-12))


@compiled
def _idle_score(base: BaseRule, shop: Shop, state: State, all_outside: bool) -> float:
    row = np.empty(NUM_IDLE_FEATURES)
    describe_idling(shop, state, all_outside, row)
    score = 0.0
    for each in range(NUM_IDLE_FEATURES):
        score += row[each] * base.weights[NUM_FEATURES + each]
    return score
