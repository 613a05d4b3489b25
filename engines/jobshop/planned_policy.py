"""The best of many: whole schedules are thought through from where the shop stands, the best is
followed, and thought again as soon as an interruption begins or ends.

With machines that never fail this is the best of N schedules; with ones that do, nothing is chosen
by what was not known when it was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from engines.jobshop.interruptions import num_surprises
from engines.jobshop.policy import play_by
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.state import State

Step = tuple[int, int]  # a machine, and the job that it loads, or IDLE


class Thinker(Protocol):
    def plan(self, shop: Shop, state: State) -> list[Step]:
        """Returns the decisions of the best schedule found from here on, in order."""
        ...


@dataclass(slots=True, kw_only=True)
class Follower:
    """Follows a thinker's plan as long as the shop does what the plan foresaw."""

    thinker: Thinker
    shop: Shop
    state: State
    surprises: int = -1
    steps: Iterator[Step] = field(default_factory=lambda: iter(()))

    def choose(self, machine: int, choices: Integers) -> int:
        seen = num_surprises(self.shop, self.state)
        step = next(self.steps, None) if seen == self.surprises else None
        if step is None or step[0] != machine or step[1] not in choices:
            self.surprises = seen
            self.steps = iter(self.thinker.plan(self.shop, self.state))
            step = next(self.steps)
        assert step[0] == machine, (step, machine)
        return step[1]


def follow_plans(thinker: Thinker, shop: Shop, state: State) -> None:
    """Plays to the end by the thinker's plans, which hold no step where there is no choice."""
    play_by(Follower(thinker=thinker, shop=shop, state=state).choose, shop, state, idles=True)
