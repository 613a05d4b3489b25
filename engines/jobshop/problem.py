"""A job shop to be played: who needs which machine for how long, and when machines will fail.

Interruptions are part of the problem, drawn beforehand, so that every policy meets the same ones.
No policy may read them: the simulator shows it only what has begun (`interruptions.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.errors import EngineInputError

Integers = npt.NDArray[np.int64]


class Shop(NamedTuple):
    """What does not change while a schedule is made. n jobs, m machines, all times integers."""

    machine: Integers  # [n, m]: the machine of a job's k-th operation
    duration: Integers  # [n, m]
    tail: Integers  # [n, m + 1]: work from the k-th operation on, that one included
    mean_duration: float  # at least 1
    hit_offset: Integers  # [n, m]: after how much work its machine fails once; -1: never
    hit_length: Integers  # [n, m]
    window_start: Integers  # [m, w]: a machine is down in [start, end); sorted, apart
    window_end: Integers  # [m, w]; unused places are NEVER
    length_bounds: Integers  # [2]: the shortest and longest an interruption can be, as is known


NEVER = np.int64(2**62)


def build_shop(
    machine: npt.ArrayLike,
    duration: npt.ArrayLike,
    *,
    hits: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    windows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    length_bounds: tuple[int, int] = (0, 0),
) -> Shop:
    """Returns the shop, checked. Raises EngineInputError, one line, where it is none.

    hits: after how much work each operation's machine fails (-1: it does not), and for how long.
    windows: starts and ends of each machine's down times, in order.
    """
    machines, durations = _table(machine, "machines"), _table(duration, "durations")
    if machines.shape != durations.shape or 0 in machines.shape:
        raise EngineInputError(
            f"job shop: machines and durations must be of one shape [jobs, machines], "
            f"got {machines.shape} and {durations.shape}"
        )
    _check_jobs(machines, durations)
    jobs, count = machines.shape
    tail = np.zeros((jobs, count + 1), dtype=np.int64)
    tail[:, :-1] = durations[:, ::-1].cumsum(axis=1)[:, ::-1]
    no_hits = (np.full((jobs, count), -1), np.zeros((jobs, count)))
    hit_offset, hit_length = (_table(each, "hits") for each in hits or no_hits)
    no_windows = (np.empty((count, 0)), np.empty((count, 0)))
    window_start, window_end = (_closed(_table(each, "windows")) for each in windows or no_windows)
    return Shop(
        machine=machines,
        duration=durations,
        tail=tail,
        mean_duration=max(1.0, float(durations.mean())),
        hit_offset=hit_offset,
        hit_length=hit_length,
        window_start=window_start,
        window_end=window_end,
        length_bounds=np.array(length_bounds, dtype=np.int64),
    )


def without_interruptions(shop: Shop) -> Shop:
    """Returns the same work on machines that never fail."""
    return build_shop(shop.machine, shop.duration)


def _table(values: npt.ArrayLike, name: str) -> Integers:
    table = np.ascontiguousarray(values, dtype=np.int64)
    if table.ndim != 2:
        raise EngineInputError(f"job shop: {name} must be a table, got {table.ndim} dimensions")
    return table


def _closed(windows: Integers) -> Integers:
    """Returns the windows and a last one that never comes, where every search ends."""
    never = np.full((windows.shape[0], 2), NEVER)
    return np.ascontiguousarray(np.concatenate([windows, never], axis=1))


def _check_jobs(machine: Integers, duration: Integers) -> None:
    wanted = np.arange(machine.shape[1])
    for job, row in enumerate(machine):
        if not np.array_equal(np.sort(row), wanted):
            raise EngineInputError(
                f"job shop: job {job} must visit each machine 0 to {wanted[-1]} once, "
                f"got {row.tolist()}"
            )
    if duration.min() < 0:
        job = int(duration.min(axis=1).argmin())
        raise EngineInputError(f"job shop: job {job} has a negative duration, {duration.min()}")
