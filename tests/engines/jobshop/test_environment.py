"""The environment keeps Gymnasium's contract, and its return is minus the makespan."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from engines.jobshop.environment import JobShopEnv
from engines.jobshop.problem import Shop
from engines.jobshop.state import makespan
from tests.engines.jobshop.shops import random_shop


def _shop(seed: int) -> Shop:
    return random_shop(seed, jobs=4, machines=3, hits=0.2)


@given(seed=st.integers(0, 2**31 - 1))
def test_the_return_is_minus_the_makespan(seed: int) -> None:
    env, random = JobShopEnv(_shop), np.random.default_rng(seed)
    _, info = env.reset(seed=seed)
    begun, total, is_over = int(env.state.counts[0]), 0.0, False
    while not is_over:
        action = random.choice(np.flatnonzero(info["action_mask"]))
        seen, reward, is_over, _, info = env.step(action)
        assert env.observation_space.contains(seen)
        total += reward
    assert total == begun - makespan(env.state)
    assert not info["action_mask"].any()


def test_the_mask_forbids() -> None:
    env = JobShopEnv(_shop)
    _, info = env.reset(seed=1)
    forbidden = np.flatnonzero(info["action_mask"] == 0)
    with pytest.raises(ValueError, match=f"action {forbidden[0]} may not be taken now"):
        env.step(forbidden[0])


class _AnyAction(JobShopEnv):
    """Takes for a forbidden action the first that may be taken: the checker knows no masks."""

    def step(self, action: np.int64) -> tuple:  # type: ignore[type-arg]
        mask = self.action_mask()
        return super().step(action if mask[action] else np.int64(np.flatnonzero(mask)[0]))


@pytest.mark.filterwarnings("ignore:.*(observation space|infinity|spec|render).*:UserWarning")
def test_gymnasiums_own_checker_finds_nothing_wrong() -> None:
    check_env(_AnyAction(_shop), skip_render_check=True)
