"""Looking ahead: each choice is tried and played to the end by a base rule, some times. No future
is known for that: `imagine` says what is played through."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engines.jobshop.base_rule import BaseRule, play_on
from engines.jobshop.chance import Chance
from engines.jobshop.compiled import compiled
from engines.jobshop.interruptions import imagine
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.simulator import act
from engines.jobshop.state import State, copy_state, new_state

FAR = 2**60


class Mind(NamedTuple):
    """Room to think in: a shop and states of the same shape as the real ones."""

    shop: Shop
    thought: State  # where the real shop stands
    play: State  # what is tried from there
    found: Integers  # [n]


def new_mind(shop: Shop) -> Mind:
    """Returns the room for thinking about the shop."""
    own = shop._replace(
        hit_offset=shop.hit_offset.copy(),
        window_start=shop.window_start.copy(),
        window_end=shop.window_end.copy(),
    )
    found = np.empty(shop.machine.shape[0], dtype=np.int64)
    return Mind(own, new_state(shop), new_state(shop), found)


@compiled
def foresee(shop: Shop, state: State, mind: Mind) -> None:
    """Makes `mind.shop` and `mind.thought` what can be known of the real ones now."""
    copy_state(state, mind.thought)
    imagine(shop, state, mind.shop, mind.thought)


@compiled
def try_choices(
    base: BaseRule,
    shop: Shop,
    state: State,
    mind: Mind,
    machine: int,
    choices: Integers,
    samples: int,
    chance: Chance,
    ends: Integers,
) -> None:
    """Writes `ends` [choices, samples]: when each sampled completion of each choice would end.

    mind: of the same shop; its content is overwritten.
    """
    foresee(shop, state, mind)
    for place in range(choices.shape[0]):
        for sample in range(samples):
            copy_state(mind.thought, mind.play)
            act(mind.shop, mind.play, machine, choices[place])
            ends[place, sample] = play_on(base, mind.shop, mind.play, mind.found, chance, FAR)
