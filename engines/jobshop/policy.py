"""What a dispatching policy is, and the loop for those that decide in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from engines.jobshop.compiled import compiled
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.simulator import ALL_DONE, IDLE, act, candidates, may_idle, to_decision
from engines.jobshop.state import State

Choose = Callable[[int, Integers], int]


class Policy(Protocol):
    def play(self, shop: Shop, state: State, seed: int) -> None:
        """Plays the shop from its beginning, `new_state(shop)`, to its end. It must not look at
        what `interruptions.py` would not tell it."""
        ...


def play_by(choose: Choose, shop: Shop, state: State, *, idles: bool) -> None:
    """Plays to the end; `choose` gets a machine and the jobs (and IDLE, last, where it `idles`
    and may) and returns one of them. It is not asked where there is only one."""
    found = np.empty(shop.machine.shape[0], dtype=np.int64)
    machine = to_decision(shop, state)
    while machine != ALL_DONE:
        choices = found[: candidates(shop, state, machine, found)]
        if idles and may_idle(shop, state, machine):
            choices = np.append(choices, IDLE)
        chosen = int(choices[0]) if len(choices) == 1 else choose(machine, choices)
        act(shop, state, machine, chosen)
        machine = to_decision(shop, state)


@compiled
def to_choice(shop: Shop, state: State, choices: Integers) -> tuple[int, int]:
    """Runs on, past decisions without a choice, to one with two or more, written into `choices`
    [n + 1]. Returns the machine, or ALL_DONE, and how many they are."""
    while True:
        machine = to_decision(shop, state)
        if machine == ALL_DONE:
            return ALL_DONE, 0
        count = candidates(shop, state, machine, choices)
        if may_idle(shop, state, machine):
            choices[count] = IDLE
            count += 1
        if count > 1:
            return machine, count
        act(shop, state, machine, choices[0])
