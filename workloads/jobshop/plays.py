"""All that is to be played, in order: each instance, at each probability, in each repeat.

All randomness of a job-shop workload is spent here: policies differ in what they choose, and in
nothing that happens to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workloads.jobshop.instances import Instance, load_path, load_set, random_instance
from workloads.jobshop.interruptions import Failing, Interruptions, draw_interruptions
from workloads.jobshop.spec import InstancesSpec, InterruptionsSpec, RandomInstancesSpec

_INSTANCES, _INTERRUPTIONS = 0, 1  # streams of the seed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPlay:
    instance: Instance
    probability: float
    repeat: int
    interruptions: Interruptions
    seed: int  # what a policy draws its own chance from: the same for all of them


def instances_of(spec: InstancesSpec, seed: int) -> list[Instance]:
    """Returns the instances the spec names. Raises WorkloadError, one line."""
    if spec.set is not None:
        return load_set(spec.set)
    if spec.path is not None:
        return load_path(Path(spec.path))
    assert spec.random is not None
    return _random_instances(spec.random, seed)


def plan_plays(
    instances: list[Instance], spec: InterruptionsSpec, *, repeats: int, seed: int
) -> Iterator[PlannedPlay]:
    """Yields the plays. With per_operation a higher probability interrupts what a lower one does,
    at the same instants, and more: probabilities differ by nothing else."""
    for number, instance in enumerate(instances):
        for repeat in range(repeats):
            place = [seed, _INTERRUPTIONS, number, repeat]
            play_seed = int(np.random.SeedSequence(place).generate_state(1)[0])
            for probability in spec.probability:
                yield PlannedPlay(
                    instance=instance,
                    probability=probability,
                    repeat=repeat,
                    interruptions=draw_interruptions(
                        instance, np.random.default_rng(place), failing_of(spec, probability)
                    ),
                    seed=play_seed,
                )


def failing_of(spec: InterruptionsSpec, probability: float) -> Failing:
    """Returns how machines fail at one of the spec's probabilities."""
    return Failing(
        model=spec.model,
        probability=probability,
        shortest=spec.length.min,
        longest=spec.length.max,
        horizon=spec.horizon,
    )


def _random_instances(spec: RandomInstancesSpec, seed: int) -> list[Instance]:
    random = np.random.default_rng([seed, _INSTANCES])
    return [
        random_instance(
            f"random{number:03d}",
            random,
            jobs=int(random.integers(spec.jobs[0], spec.jobs[1] + 1)),
            machines=int(random.integers(spec.machines[0], spec.machines[1] + 1)),
            low=spec.duration[0],
            high=spec.duration[1],
        )
        for number in range(spec.count)
    ]
