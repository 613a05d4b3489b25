"""Priorities over time, computed before the run: so each engine meets the same changes.

Smaller is more urgent. One row holds for all conversations until the next update.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from workloads.distributions import Stream
from workloads.plan_parts import PriorityPattern, PriorityTrace
from workloads.spec_users import (
    ChangingPriorities,
    MarkovPriorities,
    PrioritiesSpec,
    RandomPriorities,
    StaticPriorities,
    UserClassSpec,
)
from workloads.users import User

Levels = npt.NDArray[np.uint8]
DRAWS_AT_ONCE = 2**20


def priority_trace(
    spec: PrioritiesSpec, classes: dict[str, UserClassSpec], users: Sequence[User], seed: int
) -> PriorityTrace | None:
    """Returns the levels over time, None without priorities; `users` holds one for each
    conversation, in plan order."""
    if isinstance(spec, StaticPriorities):
        levels = np.array([[classes[user.user_class].priority for user in users]], dtype=np.uint8)
        return PriorityTrace(
            pattern=PriorityPattern.STATIC,
            num_levels=int(levels.max()) + 1,
            update_frequency=0.0,
            update_interval_s=0.0,
            levels=levels,
        )
    if not isinstance(spec, ChangingPriorities):
        return None
    return PriorityTrace(
        pattern=PriorityPattern(spec.pattern),
        num_levels=spec.levels,
        update_frequency=spec.update_frequency,
        update_interval_s=spec.update_interval,
        levels=_changing_levels(spec, len(users), Stream(seed, "priorities")),
    )


def _changing_levels(
    spec: MarkovPriorities | RandomPriorities, num_conversations: int, stream: Stream
) -> Levels:
    """Returns levels, shape [num_updates, num_conversations]; a conversation's column depends on
    its place only."""
    # A byte a level is little, but what leads to it is 40: so not for all of them at once.
    columns = max(1, DRAWS_AT_ONCE // spec.num_updates)
    levels = np.empty((spec.num_updates, num_conversations), dtype=np.uint8)
    for start in range(0, num_conversations, columns):
        stop = min(start + columns, num_conversations)
        draws = stream.uniforms((stop - start) * spec.num_updates)
        levels[:, start:stop] = _levels(spec, draws.reshape(stop - start, spec.num_updates).T)
    return levels


def _levels(spec: MarkovPriorities | RandomPriorities, uniforms: npt.NDArray[np.float64]) -> Levels:
    if isinstance(spec, MarkovPriorities):
        return markov_levels(uniforms, spec.levels, spec.stay)
    return np.floor(uniforms * spec.levels).astype(np.uint8)


def markov_levels(uniforms: npt.NDArray[np.float64], num_levels: int, stay: float) -> Levels:
    """Returns levels of the same shape as the uniforms: the first row is uniform; then u < stay
    keeps a level, and any other u moves it.

    A move is a step of 1 … num_levels − 1 around the circle of levels, all equally likely, which is
    a uniform choice of another level; so columns are running sums.
    """
    steps = np.zeros(uniforms.shape, dtype=np.int64)
    steps[0] = np.floor(uniforms[0] * num_levels)
    moves = uniforms[1:] >= stay
    where = (uniforms[1:][moves] - stay) / (1.0 - stay)  # uniform in [0, 1)
    steps[1:][moves] = 1 + np.minimum(np.floor(where * (num_levels - 1)), num_levels - 2)
    return (np.cumsum(steps, axis=0) % num_levels).astype(np.uint8)
