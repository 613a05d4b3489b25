"""What became of a schedule: instants of every operation, and where the machines' time went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.jobshop.problem import Integers, Shop
from engines.jobshop.state import (
    NUM_DECISIONS,
    NUM_IDLES,
    NUM_ROTATIONS,
    State,
    makespan,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTime:
    """Units of time of all machines up to the makespan; together machines × makespan."""

    working: int
    blocked: int  # done, and no room where it goes; the machine is up
    down: int
    idle: int  # up, and empty


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    makespan: int
    start: Integers  # [n, m]: of each job's k-th operation, when it entered its machine
    completion: Integers  # [n, m]: when its work ended
    departure: Integers  # [n, m]: when it left; between the two it blocks the machine
    num_decisions: int
    num_idles: int  # decisions to leave a machine idle though somebody wanted it
    num_rotations: int  # swap cycles
    machine_time: MachineTime
    decision_s: float  # wall time of the whole play; over num_decisions it is one decision's

    @property
    def decision_mean_s(self) -> float:
        return self.decision_s / max(1, self.num_decisions)


def record_of(shop: Shop, state: State, decision_s: float) -> ScheduleRecord:
    """Returns the record of a state that was played to its end."""
    return ScheduleRecord(
        makespan=makespan(state),
        start=state.start.copy(),
        completion=state.completion.copy(),
        departure=state.departure.copy(),
        num_decisions=int(state.counts[NUM_DECISIONS]),
        num_idles=int(state.counts[NUM_IDLES]),
        num_rotations=int(state.counts[NUM_ROTATIONS]),
        machine_time=_machine_time(shop, state),
        decision_s=decision_s,
    )


def down_times(shop: Shop, record: ScheduleRecord) -> list[list[tuple[int, int]]]:
    """Returns for each machine when it was down, [start, end), up to the makespan, in order."""
    return [
        _down_of(shop, record.start, record.makespan, machine)
        for machine in range(shop.machine.shape[1])
    ]


def _down_of(shop: Shop, start: Integers, end: int, machine: int) -> list[tuple[int, int]]:
    hit = (shop.machine == machine) & (shop.hit_offset >= 0)
    begins = start[hit] + shop.hit_offset[hit]
    hits = zip(begins, begins + shop.hit_length[hit], strict=True)
    windows = zip(shop.window_start[machine], shop.window_end[machine], strict=True)
    spans = ((int(low), min(int(high), end)) for low, high in (*hits, *windows) if low < end)
    return sorted(spans)


def _machine_time(shop: Shop, state: State) -> MachineTime:
    end = makespan(state)
    down = blocked = 0
    for machine in range(shop.machine.shape[1]):
        spans = _down_of(shop, state.start, end, machine)
        down += sum(high - low for low, high in spans)
        mine = shop.machine == machine
        for low, high in zip(state.completion[mine], state.departure[mine], strict=True):
            blocked += int(high - low) - sum(_overlap(span, (low, high)) for span in spans)
    working = int(shop.duration.sum())
    whole = end * shop.machine.shape[1]
    return MachineTime(
        working=working, blocked=blocked, down=down, idle=whole - working - blocked - down
    )


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    return max(0, int(np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])))
