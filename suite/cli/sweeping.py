"""Sweeps: a workload file with a matrix for `run`, and `capacity`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import ExitCode, Overrides, app
from suite.cli.executing import Jobs, On, Where, executor_for, interrupt_on_sigterm
from suite.plurals import several

MAX_CELLS_NAMED = 3  # of those whose gates were missed

if TYPE_CHECKING:
    from suite.playing.workload import Workload
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
    return _verdict(sweep, was_interrupted=was_interrupted)


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


@app.command()
def capacity(
    workload_file: Annotated[
        Path, typer.Argument(metavar="WORKLOAD", help="A workload file (YAML); simulated engines.")
    ],
    *,
    overrides: Overrides = None,
    target: Annotated[float, typer.Option(help="Share of users within SLO, at least (0–1).")] = 0.9,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds: the workload's and the next.")] = 3,
    low: Annotated[
        float | None, typer.Option(help="Conversations per second; default: found.")
    ] = None,
    high: Annotated[float | None, typer.Option(help="Likewise.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Step between the rates that are tried, as a ratio.")
    ] = 0.05,
    out: Annotated[Path, typer.Option(help="Where a new directory goes.")] = Path("runs"),
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A search's directory: its cells are used.")
    ] = None,
    jobs: Jobs = None,
    on: On = None,
) -> None:
    """Find the highest arrival rate at which enough users are within SLO, engine by engine."""
    from reports.text.sweep_tables import show_capacity
    from suite.playing.workload import resolve_workload
    from suite.sweep.capacity_search import CapacityRequest, CapacitySearch
    from suite.sweep.sweep_display import SweepDisplay
    from workloads.source import read_source

    request = CapacityRequest(
        target_ratio=target, num_seeds=seeds, tolerance_ratio=tolerance, low=low, high=high
    )
    source = _unswept(read_source(workload_file, overrides or []))
    workload = resolve_workload(source)
    search = CapacitySearch(source, workload, request)
    where = Where(root=out, resume=resume, jobs=jobs, on=on)
    executor = executor_for(where, are_virtual=True)
    interrupt_on_sigterm()
    sweep = _capacity_directory(where, source, workload)
    engines = several(len(workload.engines), "engine")
    typer.echo(f"{sweep.path}: {engines} × {several(seeds, 'seed')}", err=True)
    with SweepDisplay(f"{workload.spec.name} capacity") as progress:
        try:
            found = search.run(sweep, executor, on_cell=progress.on_cell, expect=progress.expect)
        except KeyboardInterrupt:
            typer.echo(_how_to_go_on(sweep.path), err=True)
            raise typer.Exit(ExitCode.INCOMPLETE) from None
    show_capacity(found, found.write(sweep.path))
    write_page(sweep)
    raise typer.Exit(ExitCode.FINE if found.is_complete else ExitCode.INCOMPLETE)


def _unswept(source: WorkloadSource) -> WorkloadSource:
    """Returns the workload without its matrix, refused where that sweeps more than a search does.

    Raises WorkloadError.
    """
    from workloads.errors import WorkloadError
    from workloads.matrix import read_matrix

    matrix = read_matrix(source)
    others = [] if matrix is None else [axis.key for axis in matrix.axes]
    others = [key for key in others if key not in ("arrivals.rate", "seed")]
    if others:
        raise WorkloadError(
            f"{source.path}: matrix sweeps {', '.join(others)}, and a capacity is of one setting; "
            "say --set matrix={} for the file's own"
        )
    return source.without_matrix()


def _capacity_directory(where: Where, source: WorkloadSource, workload: Workload) -> SweepDirectory:
    """Returns a new directory, or the one whose cells are used again."""
    from suite.playing.runner import new_directory
    from suite.sweep import directory as sweeps

    if where.resume is not None:
        return sweeps.resume(where.resume, kind="capacity", axes=(), cells=())
    path = new_directory(where.root, f"{workload.spec.name}-capacity")
    return sweeps.create(path, kind="capacity", source=source, spec=workload.spec, axes=())


def _verdict(sweep: SweepDirectory, *, was_interrupted: bool) -> int:
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
        typer.echo(_how_to_go_on(sweep.path), err=True)
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


def _how_to_go_on(path: Path) -> str:
    option = f"--resume {quote(str(path))}"
    return f"fsbench: what is complete is kept; go on with the same command and {option}"
