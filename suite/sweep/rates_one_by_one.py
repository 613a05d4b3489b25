"""The place where a search in wall time plays its rates: one after another, each only until its
interval decides, none when the time is up. An `Executor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

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
    looks: ShareLooks
    budget: Budget
    display: CapacityDisplay
    num_workers: int = 1

    def run(self, tasks: Sequence[CellTask]) -> Iterator[CellResult]:
        def watch(_: Workload) -> nullcontext[CapacityDisplay]:
            return nullcontext(self.display)

        directories = {task.cell.name: task.directory for task in tasks}
        for result in OneAfterAnother(self.num_workers, watch, self._until).run(tasks):
            if result.status == "complete":  # the plan may have ended between two looks
                self.display.on_look(self._last_look(directories[result.name]))
            yield result

    def _last_look(self, run: Path) -> RateLook:
        manifest, plan = read_run(run)
        (trial,) = manifest.trials
        return look_at(read_turns([(1, trial.directory(run))]), plan, self.looks)

    def _until(self, task: CellTask, workload: Workload) -> IsEnough | None:
        if self.budget.is_used_up:
            return None
        self.display.begin(workload, task.cell.values["arrivals.rate"])
        return RateWatch(workload.plan, self.looks, self.budget, self.display.on_look)
