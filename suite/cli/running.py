"""`run`: play a workload, then measure, judge and report."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import ExitCode, Overrides, WorkloadFile, app
from suite.cli.verdict import verdict

if TYPE_CHECKING:
    from suite.runner import RunOutcome


@app.command()
def run(
    workload_file: WorkloadFile,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("runs"),
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="Play this plan.parquet instead of a new one.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Driver processes.")] = 1,
    solo: Annotated[
        bool,
        typer.Option(
            "--solo", help="Afterwards play every conversation alone, to know each user's slowdown."
        ),
    ] = False,
) -> None:
    """Play a workload against its engines, then measure, judge and report."""
    from suite.live import LiveProgress
    from suite.runner import run as run_workload
    from suite.solo import FOLDER, solo_workload
    from suite.workload import load_workload

    workload = load_workload(workload_file, overrides or [], plan_file=plan_file)
    _interrupt_on_sigterm()
    with LiveProgress(workload) as progress:
        outcome = run_workload(workload, root=out, num_workers=workers, observer=progress)
    if solo and all(part.status == "complete" for part in outcome.manifest.parts):
        alone = solo_workload(workload)
        with LiveProgress(alone) as progress:
            run_workload(
                alone, root=outcome.directory, folder=FOLDER, num_workers=1, observer=progress
            )
    raise typer.Exit(_conclude(outcome))


def _interrupt_on_sigterm() -> None:
    """Being told to end is the same as Ctrl-C: keep what was measured, leave no process."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    signal.signal(signal.SIGTERM, interrupt)


def _conclude(outcome: RunOutcome) -> int:
    """Measure, write, show; the exit code."""
    from reports.html import write_report
    from reports.terminal import show_summary
    from suite.metrics import write_metrics

    if not any(part.counts.recorded for part in outcome.manifest.parts):
        typer.echo(f"fsbench: nothing was measured; logs are in {outcome.directory}", err=True)
        return ExitCode.BAD_INPUT if outcome.is_input_error else ExitCode.INCOMPLETE
    metrics = write_metrics(outcome.directory)
    show_summary(metrics, write_report(outcome.directory))
    return verdict(metrics, outcome.directory)
