"""Commands on a workload file that start nothing: `plan`, `validate`, `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.app import Overrides, WorkloadFile, app


@app.command()
def plan(
    workload_file: WorkloadFile,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file.")] = None,
) -> None:
    """Show what a workload will ask, without running it."""
    from reports.terminal import show_plan
    from suite.workload import load_workload

    workload = load_workload(workload_file, overrides or [])
    show_plan(workload.plan)
    if out is not None:
        workload.plan.write(out)
        typer.echo(f"plan written to {out}")


@app.command()
def validate(workload_file: WorkloadFile, overrides: Overrides = None) -> None:
    """Check a workload file, its traces and its engines' settings; start nothing."""
    from suite.workload import load_workload

    workload = load_workload(workload_file, overrides or [])
    typer.echo(
        f"{workload_file}: fine. {len(workload.plan.conversations)} conversations, "
        f"{workload.plan.num_turns} turns, engines: {', '.join(workload.engines)}; "
        f"plan {workload.plan.digest[:12]}"
    )


@app.command()
def schema() -> None:
    """Print the JSON schema of workload files."""
    import json

    from suite.workload import workload_schema

    typer.echo(json.dumps(workload_schema(), indent=2))
