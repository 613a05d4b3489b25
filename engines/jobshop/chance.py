"""Random numbers inside compiled loops: SplitMix64, whose whole state is one number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.jobshop.compiled import compiled

Chance = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def chance_of(seed: int) -> Chance:
    """Returns a source of random numbers; equal seeds give equal numbers."""
    return np.random.SeedSequence(seed).generate_state(1, dtype=np.uint64).astype(np.uint64)


@compiled
def uniform(chance: Chance) -> float:
    """Returns a number in [0, 1)."""
    chance[0] += _STEP
    mixed = chance[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    mixed = mixed ^ (mixed >> np.uint64(31))
    return float(mixed >> np.uint64(11)) / 9007199254740992.0
