"""Machines that fail: drawn with the plan, so that every policy meets the same interruptions.

per_operation: with the given probability an operation is interrupted once, after a share of its
work that is drawn uniformly. per_time: in each unit of time a machine that is up goes down with
the given probability. Either way for a length drawn uniformly between two bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from workloads.jobshop.instances import Instance

Integers = npt.NDArray[np.int64]
Model = Literal["per_operation", "per_time"]
NEVER = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruptions:
    """The interruptions that one play of one instance meets, whoever plays it."""

    hit_offset: Integers  # [n, m]: after how much work an operation is interrupted, -1: never
    hit_length: Integers  # [n, m]
    window_start: Integers  # [m, w]: a machine is down in [start, end); NEVER fills up
    window_end: Integers  # [m, w]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """How machines fail."""

    model: Model
    probability: float
    shortest: int = 5
    longest: int = 99
    horizon: int = 100_000  # per_time: beyond it no machine fails

    def lengths(self, random: np.random.Generator, shape: tuple[int, ...]) -> Integers:
        return random.integers(self.shortest, self.longest + 1, size=shape, dtype=np.int64)


def draw_interruptions(
    instance: Instance, random: np.random.Generator, failing: Failing
) -> Interruptions:
    """Returns the interruptions of one play."""
    if failing.probability == 0:
        return _no_interruptions(instance)
    if failing.model == "per_operation":
        return _per_operation(instance, random, failing)
    return _per_time(instance, random, failing)


def _no_interruptions(instance: Instance) -> Interruptions:
    never = np.empty((instance.num_machines, 0), dtype=np.int64)
    return Interruptions(
        hit_offset=np.full(instance.machine.shape, -1, dtype=np.int64),
        hit_length=np.zeros(instance.machine.shape, dtype=np.int64),
        window_start=never,
        window_end=never,
    )


def _per_operation(
    instance: Instance, random: np.random.Generator, failing: Failing
) -> Interruptions:
    # Drawn in this order whatever the probability: with a higher one the same operations, and
    # more, are interrupted at the same instants for the same lengths.
    shape = instance.machine.shape
    hit = (random.random(shape) < failing.probability) & (instance.duration > 0)
    offset = (random.random(shape) * instance.duration).astype(np.int64)
    lengths = failing.lengths(random, shape)
    return replace(
        _no_interruptions(instance),
        hit_offset=np.where(hit, offset, -1),
        hit_length=np.where(hit, lengths, 0),
    )


def _per_time(instance: Instance, random: np.random.Generator, failing: Failing) -> Interruptions:
    calendars = [_calendar(random, failing) for _ in range(instance.num_machines)]
    most = max(len(each) for each in calendars)
    windows = np.full((2, instance.num_machines, most), NEVER, dtype=np.int64)
    for machine, calendar in enumerate(calendars):
        if calendar:
            windows[:, machine, : len(calendar)] = np.array(calendar).T
    return replace(_no_interruptions(instance), window_start=windows[0], window_end=windows[1])


def _calendar(random: np.random.Generator, failing: Failing) -> list[tuple[int, int]]:
    """Returns one machine's down times: geometric times up, uniform times down, by turns."""
    calendar: list[tuple[int, int]] = []
    clock = 0
    while True:
        begins = clock + int(random.geometric(failing.probability))
        if begins >= failing.horizon:
            return calendar
        clock = begins + int(failing.lengths(random, ()))
        calendar.append((begins, clock))
