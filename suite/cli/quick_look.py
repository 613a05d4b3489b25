"""`run --sweep`: a quick look at eight loads, from one user to saturation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from suite.cli.app import ExitCode
from suite.cli.executing import Where, executor_for
from suite.cli.sweeping import verdict_of, write_page
from suite.plurals import several

if TYPE_CHECKING:
    from suite.sweep.cells import SweepCell
    from suite.sweep.directory import SweepDirectory
    from suite.sweep.executors import Executor
    from suite.sweep.quick_look import Loads, LookCells
    from workloads.source import WorkloadSource


def run_quick_look(source: WorkloadSource, where: Where, *, num_workers: int) -> int:
    """Finds the loads and runs them; returns the exit code."""
    from suite.playing.runner import new_directory
    from suite.playing.workload import resolve_workload
    from suite.sweep import directory as sweeps
    from suite.sweep.cells import CellLoader
    from suite.sweep.quick_look import LookCells, load_key

    workload = resolve_workload(source)
    key = load_key(source, workload)
    cells = LookCells(source=source, workload=workload, key=key, loader=CellLoader())
    executor = executor_for(where, are_virtual=workload.is_virtual, num_workers=num_workers)
    path = new_directory(where.root, f"{workload.spec.name}-look")
    sweep = sweeps.create(path, kind="sweep", source=source, spec=workload.spec, axes=())
    typer.echo(f"{path}: one user alone, then up to 8 loads of about a minute", err=True)
    was_interrupted = False
    try:
        _look(cells, sweep, executor)
    except KeyboardInterrupt:
        was_interrupted = True
    return _conclude(sweep, key, was_interrupted=was_interrupted)


def _look(cells: LookCells, sweep: SweepDirectory, executor: Executor) -> None:
    """Runs one user alone, and then the loads that this and each other lead to."""
    from suite.judging.metrics_file import read_metrics
    from suite.sweep.quick_look import Loads, is_saturated

    alone_s = _alone_s(cells, sweep.path / "alone", executor)
    is_rate = cells.key == "arrivals.rate"
    first = float(f"{1 / alone_s:.4g}") if is_rate else 1.0
    loads = Loads(first, is_whole=not is_rate)
    for load in loads:
        cell = cells.at(load, alone_s)
        sweep.run([cell], executor, lambda _: None)
        if not sweep.is_complete(cell):  # its engine died, or most of its turns failed
            loads.tell(is_saturated=True)
            continue
        engines = read_metrics(sweep.directory_of(cell.name))["engines"]
        loads.tell(is_saturated=is_saturated(engines))
    _say_what_was_found(loads, cells.key)


def _alone_s(cells: LookCells, directory: Path, executor: Executor) -> float:
    """Returns how long a conversation takes alone. Raises RunError where that can not be played."""
    from suite.errors import RunError
    from suite.records.run_directory import Manifest
    from suite.sweep.cells import CellTask
    from suite.sweep.quick_look import conversation_s

    cell: SweepCell = cells.alone()
    (result,) = executor.run([CellTask(cell=cell, directory=directory)])
    if result.status == "interrupted":
        raise KeyboardInterrupt
    if result.status != "complete":
        raise RunError(f"{directory}: one user alone can not be played: {result.note}")
    num = cell.workload["conversations"]["count"]
    trials = Manifest.read(directory).trials
    return conversation_s([(trial.duration_s, num) for trial in trials])


def _say_what_was_found(loads: Loads, key: str) -> None:
    if loads.saturated is None:
        typer.echo(
            f"! {key} {loads.seen[-1]:g} is not yet more than the engines carry: "
            f"{several(len(loads.seen), 'load')} were tried; start higher with a sweep of your own",
            err=True,
        )


def _conclude(sweep: SweepDirectory, key: str, *, was_interrupted: bool) -> int:
    from reports.text.sweep_tables import show_sweep
    from suite.sweep.manifest import AxisEntry
    from suite.sweep.quick_look import KEYS

    values = sorted({each.values[key] for each in sweep.manifest.cells})
    sweep.manifest.axes = [AxisEntry(key=key, label=KEYS[key], values=values)]
    sweep.manifest.cells.sort(key=lambda each: each.values[key])
    sweep.write_summary()
    if not sweep.manifest.cells:
        return ExitCode.INCOMPLETE
    show_sweep(sweep.manifest, sweep.path)
    write_page(sweep)
    return verdict_of(sweep, was_interrupted=was_interrupted, can_resume=False)
