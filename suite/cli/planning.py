"""Commands on a workload file that start nothing: `plan`, `validate`, `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import Overrides, WorkloadFile, app

if TYPE_CHECKING:
    from workloads.matrix import Matrix


@app.command()
def plan(
    workload_file: WorkloadFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the plan to this file.")
    ] = None,
) -> None:
    """Show what a workload will ask, without running it."""
    from reports.text.terminal import show_plan
    from suite.playing.preflight import unheard_priorities
    from suite.playing.workload import resolve_workload
    from workloads.matrix import read_matrix
    from workloads.source import read_source

    source = read_source(workload_file, overrides or [])
    matrix = read_matrix(source)
    if matrix is not None:
        source = matrix.cells[0].source
        typer.echo(f"{_how_many(matrix)}; the first, {matrix.cells[0].name}:")
    workload = resolve_workload(source.without_matrix())
    show_plan(workload.plan)
    for note in unheard_priorities(workload.spec, workload.engines):
        typer.echo(f"! {note}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        workload.plan.write(out)
        typer.echo(f"plan written to {out}")


@app.command()
def validate(workload_file: WorkloadFile, overrides: Overrides = None) -> None:
    """Check a workload file, its traces and its engines' settings and models; start nothing."""
    from suite.playing.preflight import check_models, unheard_priorities
    from suite.playing.workload import engines_of, resolve_workload
    from suite.sweep.cells import load_cells
    from workloads.matrix import read_matrix
    from workloads.source import read_source

    source = read_source(workload_file, overrides or [])
    matrix = read_matrix(source)
    if matrix is not None:
        num_plans = len({cell.plan_digest for cell in load_cells(matrix.cells)})
        for cell in matrix.cells:
            check_models(engines_of(cell.source), workload_file)
        typer.echo(f"{workload_file}: fine. {_how_many(matrix)}, {num_plans} different plans")
        return
    workload = resolve_workload(source.without_matrix())
    check_models(workload.engines, workload_file)
    typer.echo(
        f"{workload_file}: fine. {len(workload.plan.conversations)} conversations, "
        f"{workload.plan.num_turns} turns, engines: {', '.join(workload.engines)}; "
        f"plan {workload.plan.digest[:12]}"
    )
    for note in unheard_priorities(workload.spec, workload.engines):
        typer.echo(f"! {note}")


def _how_many(matrix: Matrix) -> str:
    sizes = " × ".join(f"{axis.label} {len(axis.values)}" for axis in matrix.axes)
    return f"{len(matrix.cells)} cells ({sizes})"


@app.command()
def schema() -> None:
    """Print the JSON schema of workload files."""
    import json

    from suite.playing.workload import workload_schema

    typer.echo(json.dumps(workload_schema(), indent=2))
