"""The job shop as a Gymnasium environment, for those who bring their own learner.

An action is a job's number, or the last number to idle; `action_mask()` says which may be taken. A
reward is minus the time that passed, so a return is minus the makespan. What is observed is of
each job, in the order of `OBSERVED`; nothing of it tells what is to come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from engines.jobshop.features import NUM_FEATURES, describe_candidate
from engines.jobshop.policy import to_choice
from engines.jobshop.problem import Shop
from engines.jobshop.simulator import ALL_DONE, IDLE, act
from engines.jobshop.state import CLOCK, DONE, PROCESSING, State, makespan, new_state

Observation = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int8]


class JobShopEnv(gymnasium.Env[Observation, np.int64]):
    """One shop an episode; `shops(seed)` draws it, with as many jobs and machines each time."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, shops: Callable[[int], Shop]) -> None:
        self._shops = shops
        self._begin(0)
        self.action_space = gymnasium.spaces.Discrete(self._num_jobs + 1)
        # Of each job: is it done, is it at work, is it a candidate, then FEATURES of its next step.
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, shape=(self._num_jobs, 3 + NUM_FEATURES), dtype=np.float32
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._begin(int(self.np_random.integers(2**31)))
        return self._observe(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Does what was chosen and runs on to the next choice. Raises ValueError for an action that
        the mask forbids."""
        if not self.action_mask()[action]:
            raise ValueError(f"action {action} may not be taken now; ask action_mask()")
        before = int(self._state.counts[CLOCK])
        job = IDLE if action == self._num_jobs else int(action)
        act(self._shop, self._state, self._machine, job)
        self._to_choice()
        is_over = self._machine == ALL_DONE
        now = makespan(self._state) if is_over else int(self._state.counts[CLOCK])
        return self._observe(), float(before - now), is_over, False, self._info()

    def action_mask(self) -> Mask:
        """Returns [jobs + 1]: 1 where the action may be taken."""
        mask = np.zeros(self._num_jobs + 1, dtype=np.int8)
        mask[self._choices[: self._count]] = 1  # IDLE, −1, is the last place
        return mask

    @property
    def state(self) -> State:
        return self._state

    def _begin(self, seed: int) -> None:
        self._shop = self._shops(seed)
        self._state = new_state(self._shop)
        self._num_jobs = self._shop.machine.shape[0]
        self._choices = np.empty(self._num_jobs + 1, dtype=np.int64)
        self._to_choice()

    def _to_choice(self) -> None:
        self._machine, self._count = to_choice(self._shop, self._state, self._choices)

    def _observe(self) -> Observation:
        seen = np.zeros((self._num_jobs, 3 + NUM_FEATURES))
        for job, status in enumerate(self._state.status):
            seen[job, 0] = status == DONE
            seen[job, 1] = status == PROCESSING
            if status not in (DONE, PROCESSING):
                describe_candidate(self._shop, self._state, job, seen[job, 3:])
        for job in self._choices[: self._count]:
            if job != IDLE:
                seen[job, 2] = 1.0
        return seen.astype(np.float32)

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.action_mask(), "machine": self._machine}
