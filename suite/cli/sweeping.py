"""Sweeps: a workload file with a matrix for `run`, and their pages."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import typer

from suite.cli.app import ExitCode
from suite.cli.executing import Where, executor_for
from suite.plurals import several

MAX_CELLS_NAMED = 3  # of those whose gates were missed

if TYPE_CHECKING:
    from suite.sweep.directory import SweepDirectory
    from workloads.matrix import Matrix
    from workloads.source import WorkloadSource


def run_sweep(source: WorkloadSource, matrix: Matrix, where: Where, *, num_workers: int) -> int:
    """Runs every cell and shows the summary; returns the exit code."""
    from reports.text.sweep_tables import show_sweep
    from suite.playing.runner import new_directory
    from suite.sweep import directory as sweeps
    from suite.sweep.cells import load_cells
    from suite.sweep.sweep_display import SweepDisplay
    from workloads.spec import spec_of

    cells = load_cells(matrix.cells)
    are_virtual = all(cell.is_virtual for cell in cells)
    executor = executor_for(where, are_virtual=are_virtual, num_workers=num_workers)
    spec = spec_of(matrix.cells[0].source)
    if where.resume is not None:
        sweep = sweeps.resume(where.resume, kind="sweep", axes=matrix.axes, cells=cells)
    else:
        path = new_directory(where.root, spec.name)
        sweep = sweeps.create(path, kind="sweep", source=source, spec=spec, axes=matrix.axes)
    num_left = sum(not sweep.is_complete(cell) for cell in cells)
    typer.echo(f"{sweep.path}: {num_left} of {several(len(cells), 'cell')} to run", err=True)
    was_interrupted = False
    with SweepDisplay(spec.name, num_left, is_shown=are_virtual) as progress:
        try:
            sweep.run(cells, executor, progress.on_cell)
        except KeyboardInterrupt:
            was_interrupted = True
    sweep.write_summary()
    show_sweep(sweep.manifest, sweep.path)
    write_page(sweep)
    return verdict_of(sweep, was_interrupted=was_interrupted)


def write_page(sweep: SweepDirectory) -> None:
    """Writes report.html over the settings that are swept beside the seed, or says why there is
    none."""
    from reports.pages.capacity import write_capacity
    from reports.pages.sweep import write_sweep
    from suite.sweep.capacity_result import CapacityResult
    from workloads.errors import InputError

    runs = {row["cell"]: sweep.directory_of(row["cell"]) for row in sweep.manifest.rows}
    if not runs:
        return
    capacity = CapacityResult.read(sweep.path)
    try:
        page = sweep.path / "report.html"
        if capacity is None:
            write_sweep(sweep.manifest, runs, page)
        else:
            write_capacity(sweep.manifest, runs, page, capacity)
        typer.echo(f"report: {page}")
    except InputError as error:
        typer.echo(f"no report of the whole sweep: {error}")


def report_sweep(path: Path) -> None:
    """Measures every cell's records again, and writes the summary and report.html anew."""
    from suite.judging.metrics_file import write_metrics
    from suite.sweep.directory import SweepDirectory
    from suite.sweep.manifest import SweepManifest

    sweep = SweepDirectory(path, SweepManifest.read(path))
    for row in {row["cell"]: row for row in sweep.manifest.rows}.values():
        write_metrics(sweep.directory_of(row["cell"]))
    sweep.write_summary()
    write_page(sweep)


def verdict_of(sweep: SweepDirectory, *, was_interrupted: bool, can_resume: bool = True) -> int:
    """Returns the exit code of the worst cell, and tells which cells those are."""
    from suite.judging.gates import exit_code

    entries = sweep.manifest.cells
    num_left = sum(entry.status != "complete" for entry in entries)
    if num_left or was_interrupted:
        typer.echo(
            f"fsbench: {num_left} of {several(len(entries), 'cell')} not complete, "
            "sweep.json says why",
            err=True,
        )
        if can_resume:
            typer.echo(how_to_go_on(sweep.path), err=True)
        return ExitCode.INCOMPLETE
    outcomes = sweep.gate_outcomes()
    for outcome in ("fail", "inconclusive"):
        cells = [name for name, found in outcomes.items() if outcome in found]
        if cells:
            shown = ", ".join(cells[:MAX_CELLS_NAMED]) + (", …" if cells[MAX_CELLS_NAMED:] else "")
            num = sum(found.count(outcome) for found in outcomes.values())
            typer.echo(
                f"fsbench: gates {outcome}: {num}, in {len(cells)} of {len(entries)} cells "
                f"({shown}); see them with: fsbench gate {quote(str(sweep.path))}/cells/CELL",
                err=True,
            )
    return exit_code(each for found in outcomes.values() for each in found)


def how_to_go_on(path: Path) -> str:
    option = f"--resume {quote(str(path))}"
    return f"fsbench: what is complete is kept; go on with the same command and {option}"
