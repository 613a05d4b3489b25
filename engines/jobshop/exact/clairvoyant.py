"""What nobody can beat who does not know the future: the least makespan with every interruption
known beforehand, by PyJobShop.

A machine's calendar is its breaks: work that meets one is longer by it. A schedule may do here a
little more than in the shop (a job may enter during a break), so the answer is a bound from below.
"""

from __future__ import annotations

from time import perf_counter

from pyjobshop import Model

from engines.jobshop.exact.answer import ExactAnswer
from engines.jobshop.exact.cp_sat import true_durations
from engines.jobshop.problem import NEVER, Shop


def clairvoyant_bound(shop: Shop, *, time_limit_s: float = 60.0, threads: int = 1) -> ExactAnswer:
    """Returns the bound, and the makespan that goes with the best schedule found."""
    begun = perf_counter()
    result = _model(shop).solve(time_limit=time_limit_s, display=False, num_workers=threads)
    found = result.best is not None and bool(result.best.tasks)
    return ExactAnswer(
        makespan=round(result.objective) if found else None,
        bound=round(result.lower_bound),
        seconds=perf_counter() - begun,
    )


def _model(shop: Shop) -> Model:
    model, needed = Model(), true_durations(shop)
    jobs, machines = shop.machine.shape
    horizon = int(needed.sum() + _down_time(shop))
    rooms = [
        model.add_machine(breaks=_breaks(shop, machine, horizon)) for machine in range(machines)
    ]
    for job in range(jobs):
        owner, before = model.add_job(), None
        for stage in range(machines):
            is_last = stage + 1 == machines  # it leaves at once; others may have to stay
            task = model.add_task(owner, allow_idle=not is_last, allow_breaks=True)
            room = rooms[int(shop.machine[job, stage])]
            model.add_mode(task, room, duration=int(needed[job, stage]))
            if before is not None:
                model.add_end_at_start(before, task)
            before = task
    model.set_objective(weight_makespan=1)
    return model


def _down_time(shop: Shop) -> int:
    is_real = shop.window_start < NEVER
    return int((shop.window_end[is_real] - shop.window_start[is_real]).sum())


def _breaks(shop: Shop, machine: int, horizon: int) -> list[tuple[int, int]]:
    calendar = zip(shop.window_start[machine], shop.window_end[machine], strict=True)
    return [(int(low), int(high)) for low, high in calendar if low < min(horizon, NEVER)]
