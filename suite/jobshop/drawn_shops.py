"""The shops that a training file asks for, drawn anew for every iteration."""

from __future__ import annotations

import numpy as np

from engines.jobshop.problem import Shop
from suite.jobshop.shops import shop_of
from suite.jobshop.training_spec import TrainingShopsSpec, TrainingSpec
from workloads.jobshop.instances import random_instance
from workloads.jobshop.interruptions import draw_interruptions
from workloads.jobshop.plays import failing_of

_TRAINING, _VALIDATION = 0, 1  # streams of the seed


def validation_shops(spec: TrainingSpec) -> list[Shop]:
    """Returns the shops that are held back: never trained on."""
    random = np.random.default_rng([spec.seed, _VALIDATION])
    return [_draw(spec, spec.validation.shops, random) for _ in range(spec.validation.count)]


def iteration_shops(spec: TrainingSpec, iteration: int, count: int) -> list[Shop]:
    """Returns so many shops for an iteration, the same each time it is asked for."""
    random = np.random.default_rng([spec.seed, _TRAINING, iteration])
    return [_draw(spec, spec.shops, random) for _ in range(count)]


def _draw(spec: TrainingSpec, sizes: TrainingShopsSpec, random: np.random.Generator) -> Shop:
    machines = int(random.integers(sizes.machines[0], sizes.machines[1] + 1))
    jobs = int(random.integers(max(machines, sizes.jobs[0]), sizes.jobs[1] + 1))
    low, high = sizes.duration
    instance = random_instance("drawn", random, jobs=jobs, machines=machines, low=low, high=high)
    probability = float(random.choice(spec.interruptions.probability))
    failing = failing_of(spec.interruptions, probability)
    return shop_of(
        instance, draw_interruptions(instance, random, failing), spec.interruptions.length
    )
