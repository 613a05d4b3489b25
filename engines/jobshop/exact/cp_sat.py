"""The least makespan by OR-Tools CP-SAT: operations as intervals from entering to leaving.

With `per_operation` interruptions, which lengthen an operation whenever it begins, it is the least
makespan of somebody who knows them all beforehand. For machines with calendars: `clairvoyant.py`.
"""

from __future__ import annotations

from time import perf_counter

from ortools.sat.python import cp_model

from engines.errors import EngineInputError
from engines.jobshop.exact.answer import ExactAnswer
from engines.jobshop.problem import NEVER, Integers, Shop


def true_durations(shop: Shop) -> Integers:
    """Returns [n, m]: how long each operation takes with what will hit it."""
    return shop.duration + shop.hit_length


def solve(shop: Shop, *, time_limit_s: float = 60.0, threads: int = 1) -> ExactAnswer:
    """Returns the best schedule found in the time, and the bound. Raises EngineInputError for a
    shop whose machines fail by a calendar."""
    if (shop.window_start < NEVER).any():
        raise EngineInputError("CP-SAT's model has no calendars of machines; use clairvoyant_bound")
    model, end = _model(shop)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.num_workers = threads
    begun = perf_counter()
    status = solver.solve(model)
    assert status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN), status
    return ExactAnswer(
        makespan=None if status == cp_model.UNKNOWN else round(solver.objective_value),
        bound=round(solver.best_objective_bound),
        seconds=perf_counter() - begun,
    )


def _model(shop: Shop) -> tuple[cp_model.CpModel, cp_model.IntVar]:
    model, needed = cp_model.CpModel(), true_durations(shop)
    horizon = int(needed.sum())
    jobs, machines = shop.machine.shape
    end = model.new_int_var(0, horizon, "end")
    on_machine: list[list[cp_model.IntervalVar]] = [[] for _ in range(machines)]
    for job in range(jobs):
        # instants[k] is when the job enters its k-th machine; the last one is when it is out
        instants = [model.new_int_var(0, horizon, f"{job}.{k}") for k in range(machines + 1)]
        for k in range(machines):
            enters, leaves, least = instants[k], instants[k + 1], int(needed[job, k])
            stays = model.new_int_var(least, horizon, f"stays {job}.{k}")
            interval = model.new_interval_var(enters, stays, leaves, f"on {job}.{k}")
            on_machine[shop.machine[job, k]].append(interval)
        model.add(instants[machines] == instants[machines - 1] + int(needed[job, -1]))
        model.add(end >= instants[machines])
    for intervals in on_machine:
        model.add_no_overlap(intervals)
    return model, end
