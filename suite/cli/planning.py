"""Commands on a workload file that start nothing: `plan`, `validate`, `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import Overrides, app
from suite.cli.workload_argument import WorkloadArgument, read_workload
from suite.plurals import several

STEADY_TOKENS_PER_S = 30  # of one answer: a usual reading speed, and a laptop's with a small model

if TYPE_CHECKING:
    from suite.playing.workload import Workload
    from workloads.matrix import Matrix
    from workloads.plan import Plan


@app.command()
def plan(
    workload: WorkloadArgument,
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

    source = read_workload(workload, overrides)
    matrix = read_matrix(source)
    if matrix is not None:
        source = matrix.cells[0].source
        typer.echo(f"{_how_many(matrix)}; the first, {matrix.cells[0].name}:")
    resolved = resolve_workload(source.without_matrix())
    show_plan(resolved.plan)
    typer.echo(_how_long(resolved))
    for note in unheard_priorities(resolved.spec, resolved.engines):
        typer.echo(f"! {note}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        resolved.plan.write(out)
        typer.echo(f"plan written to {out}")


@app.command()
def validate(workload: WorkloadArgument, overrides: Overrides = None) -> None:
    """Check a workload file, its traces and its engines' settings and models; start nothing."""
    from suite.playing.preflight import check_files, doubts, unheard_priorities
    from suite.playing.workload import engines_of, resolve_workload
    from suite.sweep.cells import load_cells
    from workloads.matrix import read_matrix

    source = read_workload(workload, overrides)
    matrix = read_matrix(source)
    if matrix is not None:
        num_plans = len({cell.plan_digest for cell in load_cells(matrix.cells)})
        for cell in matrix.cells:
            check_files(engines_of(cell.source), source.path)
        typer.echo(f"{workload}: fine. {_how_many(matrix)}, {num_plans} different plans")
        return
    resolved = resolve_workload(source.without_matrix())
    check_files(resolved.engines, source.path)
    typer.echo(
        f"{workload}: fine. {several(len(resolved.plan.conversations), 'conversation')}, "
        f"{several(resolved.plan.num_turns, 'turn')}, engines: {', '.join(resolved.engines)}; "
        f"plan {resolved.plan.digest[:12]}"
    )
    for note in [*unheard_priorities(resolved.spec, resolved.engines), *doubts(resolved.plan)]:
        typer.echo(f"! {note}")


def _how_long(workload: Workload) -> str:
    """Returns how long the workload plays, as far as a plan can tell."""
    from reports.words.units import duration
    from suite.virtual.estimate import steady_duration_s

    num_trials = workload.spec.repeats * sum(
        not settings.is_virtual for settings in workload.engines.values()
    )
    if not num_trials:
        return "plays in virtual time, which this machine's speed decides"
    if workload.plan.closed_duration_s is not None:
        return _how_long_by_time(workload.plan, num_trials)
    least_s = num_trials * steady_duration_s(workload.plan, token_s=0.0)
    steady_s = num_trials * steady_duration_s(workload.plan, token_s=1 / STEADY_TOKENS_PER_S)
    return (
        f"plays about {duration(steady_s)} where answers stream {STEADY_TOKENS_PER_S} tokens/s, "
        f"at least {duration(least_s)} (arrivals and think times alone)"
        + (f"; all {num_trials} engines and repeats, one after another, without their starts")
        * (num_trials > 1)
    )


def _how_long_by_time(plan: Plan, num_trials: int) -> str:
    """Returns how long a plan plays that ends by time."""
    from reports.words.units import duration
    from suite.virtual.estimate import steady_duration_s

    assert plan.closed_duration_s is not None, "it has an end"
    steady_s = steady_duration_s(plan, token_s=1 / STEADY_TOKENS_PER_S)
    return (
        f"plays {duration(plan.closed_duration_s)} and until what is in flight then is answered, "
        f"{duration(num_trials * steady_s)} in all where answers stream {STEADY_TOKENS_PER_S} "
        "tokens/s"
        + (f"; all {num_trials} engines and repeats, one after another, without their starts")
        * (num_trials > 1)
    )


def _how_many(matrix: Matrix) -> str:
    sizes = " × ".join(f"{axis.label} {len(axis.values)}" for axis in matrix.axes)
    return f"{several(len(matrix.cells), 'cell')} ({sizes})"


@app.command()
def schema() -> None:
    """Print the JSON schema of workload files."""
    import json

    from suite.playing.workload import workload_schema

    typer.echo(json.dumps(workload_schema(), indent=2))
