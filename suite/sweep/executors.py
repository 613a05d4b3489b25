"""The places where cells run: one after another here, over the cores, or over a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from suite.playing.run_display import RunDisplay
from suite.playing.trial import Observer
from suite.playing.workload import Workload, resolve_workload
from suite.records.play_result import IsEnough, never_enough
from suite.sweep.cells import CellTask
from suite.sweep.run_cell import CellResult, run_cell, set_aside

RunCell = Callable[[CellTask], CellResult]
Watch = Callable[[Workload], AbstractContextManager[Observer]]
UntilEnough = Callable[[CellTask, Workload], IsEnough | None]


def to_the_end(_: CellTask, __: Workload) -> IsEnough:
    """Has every cell played to the end of its plan."""
    return never_enough


class Executor(Protocol):
    def run(self, tasks: Sequence[CellTask]) -> Iterator[CellResult]:
        """Each task's result as it is there, in any order."""
        ...


class OneAfterAnother:
    """Runs cells in this process, for engines in wall time, which would disturb each other.

    `until` is asked before each: it says when enough of it was played, or with None that it is not
    to be begun.
    """

    def __init__(
        self, num_workers: int, watch: Watch = RunDisplay, until: UntilEnough = to_the_end
    ) -> None:
        self._num_workers = num_workers
        self._watch = watch
        self._until = until

    def run(self, tasks: Sequence[CellTask]) -> Iterator[CellResult]:
        for task in tasks:
            workload = resolve_workload(task.cell.source)
            is_enough = self._until(task, workload)
            if is_enough is None:
                continue
            with self._watch(workload) as observer:
                result = run_cell(
                    task,
                    num_workers=self._num_workers,
                    observer=observer,
                    workload=workload,
                    is_enough=is_enough,
                )
            yield result


class OverCores:
    """Runs `num_jobs` cells at a time, each in a process of its own."""

    def __init__(self, num_jobs: int, run: RunCell = run_cell) -> None:
        self._num_jobs = num_jobs
        self._run_cell = run

    def run(self, tasks: Sequence[CellTask]) -> Iterator[CellResult]:
        """A process that is killed takes its pool with it: what had begun there is tried again, a
        cell at a time, so that only the one it happens to is lost."""
        left = {task.cell.name: task for task in tasks}
        while left:
            try:
                for result in self._pool(list(left.values())):
                    del left[result.name]
                    yield result
            except TerminatedWorkerError:
                begun = [task for task in left.values() if task.directory.exists()]
                for task in begun:
                    del left[task.cell.name]
                    yield self._alone(task)

    def _alone(self, task: CellTask) -> CellResult:
        set_aside(task.directory)
        try:
            return next(self._pool([task]))
        except TerminatedWorkerError:
            note = "its process was killed (out of memory?)"
            return CellResult(name=task.cell.name, status="failed", note=note, duration_s=0.0)

    def _pool(self, tasks: Sequence[CellTask]) -> Iterator[CellResult]:
        parallel = Parallel(
            n_jobs=self._num_jobs,
            backend="loky",
            batch_size=1,
            pre_dispatch="n_jobs",
            return_as="generator_unordered",
        )
        results: Iterator[CellResult] = parallel(delayed(self._run_cell)(task) for task in tasks)
        return results
