"""The best of N schedules by a base rule, as plans to follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.jobshop.base_rule import BaseRule, choose, play_on
from engines.jobshop.chance import Chance, chance_of
from engines.jobshop.compiled import compiled
from engines.jobshop.planned_policy import Step, follow_plans
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.rollout import FAR, Mind, foresee, new_mind
from engines.jobshop.simulator import ALL_DONE, act, candidates, may_idle, to_decision
from engines.jobshop.state import State, copy_state


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfPolicy:
    base: BaseRule
    samples: int

    def play(self, shop: Shop, state: State, seed: int) -> None:
        thinker = _BestOf(self.base, self.samples, new_mind(shop), chance_of(seed))
        follow_plans(thinker, shop, state)


@dataclass(frozen=True, slots=True)
class _BestOf:
    base: BaseRule
    samples: int
    mind: Mind
    chance: Chance

    def plan(self, shop: Shop, state: State) -> list[Step]:
        foresee(shop, state, self.mind)
        winner = best_start(self.base, self.mind, self.samples, self.chance)
        steps = np.empty((_most_steps(shop), 2), dtype=np.int64)
        count = write_steps(self.base, self.mind, winner, steps)
        return [(int(machine), int(job)) for machine, job in steps[:count]]


@compiled
def best_start(base: BaseRule, mind: Mind, samples: int, chance: Chance) -> Chance:
    """Returns the state that chance was in before the best of the completions of the thought."""
    best, winner = FAR, chance.copy()
    for _ in range(samples):
        before = chance.copy()
        copy_state(mind.thought, mind.play)
        end = play_on(base, mind.shop, mind.play, mind.found, chance, best)
        if end < best:
            best, winner = end, before
    return winner


@compiled
def write_steps(base: BaseRule, mind: Mind, chance: Chance, steps: Integers) -> int:
    """Writes the decisions of one completion of the thought, but for those without a choice.
    Returns how many they are."""
    copy_state(mind.thought, mind.play)
    shop, play, written = mind.shop, mind.play, 0
    machine = to_decision(shop, play)
    while machine != ALL_DONE:
        count = candidates(shop, play, machine, mind.found)
        chosen = choose(base, shop, play, machine, mind.found, count, chance)
        if count > 1 or may_idle(shop, play, machine):
            steps[written, 0] = machine
            steps[written, 1] = chosen
            written += 1
        act(shop, play, machine, chosen)
        machine = to_decision(shop, play)
    return written


def _most_steps(shop: Shop) -> int:
    """Each operation is loaded once, and after each end of work every machine may idle once."""
    jobs, machines = shop.machine.shape
    return int(jobs * machines * (machines + 1) + machines)
