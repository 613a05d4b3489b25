"""The place where a search in wall time plays its rates: one after another, each only until its
interval decides, none when the time is up. An `Executor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from suite.playing.workload import Workload
from suite.records.play_result import IsEnough
from suite.records.reading import read_run
from suite.records.turn_table import read_turns
from suite.statistics.sequential import ShareLooks
from suite.sweep.budget import Budget
from suite.sweep.capacity_display import CapacityDisplay
from suite.sweep.cells import CellTask
from suite.sweep.executors import OneAfterAnother
from suite.sweep.rate_look import RateLook, RateWatch, look_at
from suite.sweep.run_cell import CellResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesOneByOne:
    looks: Callable[[float], ShareLooks]  # at a rate
    budget: Budget
    display: CapacityDisplay
    num_workers: int = 1

    def run(self, tasks: Sequence[CellTask]) -> Iterator[CellResult]:
        def watch(_: Workload) -> nullcontext[CapacityDisplay]:
            return nullcontext(self.display)

        by_name = {task.cell.name: task for task in tasks}
        for result in OneAfterAnother(self.num_workers, watch, self._until).run(tasks):
            if result.status == "complete":  # the plan may have ended between two looks
                self.display.on_look(self._last_look(by_name[result.name]))
            yield result

    def _last_look(self, task: CellTask) -> RateLook:
        manifest, plan = read_run(task.directory)
        (trial,) = manifest.trials
        turns = read_turns([(1, trial.directory(task.directory))])
        return look_at(turns, plan, self.looks(_rate(task)))

    def _until(self, task: CellTask, workload: Workload) -> IsEnough | None:
        if self.budget.is_used_up:
            return None
        rate = _rate(task)
        self.display.begin(workload, rate)
        return RateWatch(workload.plan, self.looks(rate), self.budget, self.display.on_look)


def _rate(task: CellTask) -> float:
    rate: float = task.cell.values["arrivals.rate"]
    return rate
