"""A training as its file asks for it: shops drawn for every iteration, and the training itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.jobshop.problem import Shop
from engines.jobshop.training.train import Training, begin_training
from suite.jobshop.shops import shop_of
from suite.jobshop.training_spec import TrainingShopsSpec, TrainingSpec
from workloads.jobshop.instances import random_instance
from workloads.jobshop.interruptions import draw_interruptions
from workloads.jobshop.plays import failing_of

_TRAINING, _VALIDATION = 0, 1  # streams of the seed


def training_of(spec: TrainingSpec, folder: Path) -> Training:
    """Returns the training at its beginning, or where the folder's checkpoint left off. Raises
    EngineInputError where that is of other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([spec.seed, _VALIDATION])
    held_back = spec.validation
    return begin_training(
        spec.train,
        seed=spec.seed,
        shops=lambda iteration, count: _iteration_shops(spec, iteration, count),
        validation=[_draw(spec, held_back.shops, random) for _ in range(held_back.count)],
        folder=folder,
    )


def _iteration_shops(spec: TrainingSpec, iteration: int, count: int) -> list[Shop]:
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
