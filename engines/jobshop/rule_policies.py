"""Policies over a base rule: the rule itself, rollouts of it, and the best of many plays of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from engines.jobshop.base_rule import BaseRule, play_on
from engines.jobshop.chance import chance_of
from engines.jobshop.policy import play_by
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.rollout import FAR, new_mind, try_choices
from engines.jobshop.state import State

Aim = Literal["mean", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePolicy:
    rule: BaseRule

    def play(self, shop: Shop, state: State, seed: int) -> None:
        found = np.empty(shop.machine.shape[0], dtype=np.int64)
        play_on(self.rule, shop, state, found, chance_of(seed), FAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """The pilot method: takes the choice whose completions by the base end earliest, in the mean
    or at best."""

    base: BaseRule
    samples: int
    aim: Aim
    idles: bool

    def play(self, shop: Shop, state: State, seed: int) -> None:
        mind, chance = new_mind(shop), chance_of(seed)

        def choose(machine: int, choices: Integers) -> int:
            ends = np.empty((len(choices), self.samples), dtype=np.int64)
            try_choices(self.base, shop, state, mind, machine, choices, self.samples, chance, ends)
            values = ends.mean(axis=1) if self.aim == "mean" else ends.min(axis=1)
            return int(choices[values.argmin()])

        play_by(choose, shop, state, idles=self.idles)
