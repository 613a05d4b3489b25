"""Random shops for the tests of this folder, and the laws that every schedule must keep."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from engines.jobshop.problem import Shop, build_shop
from engines.jobshop.record import ScheduleRecord


def random_shop(
    seed: int, *, jobs: int, machines: int, hits: float = 0.0, windows: float = 0.0, low: int = 1
) -> Shop:
    """Returns a shop whose operations are hit with the one probability, and whose machines fail in
    each unit of time with the other."""
    random = np.random.default_rng(seed)
    shape = (jobs, machines)
    duration = random.integers(low, 20, size=shape)
    is_hit = (random.random(shape) < hits) & (duration > 0)
    offset = np.where(is_hit, (random.random(shape) * duration).astype(int), -1)
    length = np.where(is_hit, random.integers(1, 15, size=shape), 0)
    return build_shop(
        random.permuted(np.tile(np.arange(machines), (jobs, 1)), axis=1),
        duration,
        hits=(offset, length),
        windows=_windows(random, machines, windows),
        length_bounds=(1, 14),
    )


@st.composite
def shops(draw: st.DrawFn, most: int = 6) -> Shop:
    model = draw(st.sampled_from(["none", "hits", "windows"]))
    return random_shop(
        draw(st.integers(0, 2**32 - 1)),
        jobs=draw(st.integers(1, most)),
        machines=draw(st.integers(1, most)),
        hits=draw(st.floats(0, 1)) if model == "hits" else 0.0,
        windows=draw(st.floats(0.001, 0.3)) if model == "windows" else 0.0,
        low=draw(st.integers(0, 1)),
    )


def assert_lawful(shop: Shop, record: ScheduleRecord) -> None:
    """Checks the record against the problem's definition, unit of time by unit of time."""
    jobs, machines = shop.machine.shape
    assert record.makespan == record.departure.max()
    for job in range(jobs):
        for stage in range(machines):
            start, leaves = record.start[job, stage], record.departure[job, stage]
            assert record.completion[job, stage] == _true_end(shop, job, stage, start)
            assert leaves >= record.completion[job, stage]
            if stage + 1 < machines:
                assert record.start[job, stage + 1] == leaves
            else:
                assert leaves == record.completion[job, stage]
    for machine in range(machines):
        mine = shop.machine == machine
        spans = sorted(zip(record.start[mine], record.departure[mine], strict=True))
        for (_, leaves), (enters, _) in pairwise(spans):
            assert leaves <= enters
        for enters, _ in spans:
            assert not _is_down(shop, machine, enters)


def _is_down(shop: Shop, machine: int, instant: int) -> bool:
    calendar = zip(shop.window_start[machine], shop.window_end[machine], strict=True)
    return any(low <= instant < high for low, high in calendar)


def _true_end(shop: Shop, job: int, stage: int, start: int) -> int:
    """Works through the operation unit by unit."""
    left, clock = int(shop.duration[job, stage]), int(start)
    offset, length = int(shop.hit_offset[job, stage]), int(shop.hit_length[job, stage])
    worked = 0
    while left:
        if worked == offset and length:
            length -= 1
        elif not _is_down(shop, int(shop.machine[job, stage]), clock):
            left -= 1
            worked += 1
        clock += 1
    return clock


def _windows(random: np.random.Generator, machines: int, rate: float) -> tuple[np.ndarray, ...]:
    if rate == 0:
        return np.empty((machines, 0)), np.empty((machines, 0))
    up, down = random.geometric(rate, (machines, 60)), random.integers(1, 15, (machines, 60))
    ends = (up + down).cumsum(axis=1)
    return ends - down, ends
