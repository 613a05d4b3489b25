"""`run`: play a workload, then measure, judge and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import ExitCode, Overrides, app
from suite.cli.attaching import meet_server, say_how_to_change
from suite.cli.executing import Jobs, On, Where, interrupt_on_sigterm
from suite.cli.verdict import verdict
from suite.cli.workload_argument import WorkloadArgument, read_workload

if TYPE_CHECKING:
    from suite.playing.runner import RunOutcome
    from suite.playing.workload import Workload
    from workloads.source import WorkloadSource


PlanFile = Annotated[
    Path | None, typer.Option("--plan", help="Play this plan.parquet instead of a new one.")
]
OnlyEngines = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Play this engine only; may be given several times."),
]
Solo = Annotated[
    bool,
    typer.Option(
        "--solo", help="Afterwards play every conversation alone, to know each user's slowdown."
    ),
]


@app.command()
def run(
    named: WorkloadArgument,
    *,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("runs"),
    plan_file: PlanFile = None,
    engine: OnlyEngines = None,
    workers: Annotated[int, typer.Option(min=1, help="Driver processes.")] = 1,
    solo: Solo = False,
    jobs: Jobs = None,
    on: On = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A sweep's directory: run what it lacks.")
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="A quick look: eight loads, from one user to saturation."),
    ] = False,
) -> None:
    """Play a workload against its engines, then measure, judge and report.

    A file with a matrix is a sweep: each of its cells in turn, or over the cores."""
    from suite.cli.quick_look import run_quick_look
    from suite.cli.sweeping import run_sweep
    from suite.playing.workload import resolve_workload
    from workloads.attach import base_url_of
    from workloads.matrix import read_matrix
    from workloads.plan import Plan

    source = _chosen(read_workload(named, overrides), engine or [])
    interrupt_on_sigterm()
    if sweep:
        given = {"--plan": plan_file, "--solo": solo or None, "--resume": resume}
        _refuse(given, "can not stand beside --sweep, which finds its own loads")
        where = Where(root=out, resume=None, jobs=jobs, on=on)
        raise typer.Exit(run_quick_look(source.without_matrix(), where, num_workers=workers))
    if (matrix := read_matrix(source)) is not None:
        _refuse({"--plan": plan_file}, "is for a single run; the cells of a matrix have their own")
        where = Where(root=out, resume=resume, jobs=jobs, on=on)
        raise typer.Exit(run_sweep(source, matrix, where, num_workers=workers))
    sweeps_only = {"--jobs": jobs, "--on": on, "--resume": resume}
    _refuse(sweeps_only, f"is for sweeps, and {named} has no matrix")
    plan = None if plan_file is None else Plan.read(plan_file)
    workload = resolve_workload(source.without_matrix(), plan=plan)
    base_url = base_url_of(named)
    raise typer.Exit(_run_once(workload, out, num_workers=workers, solo=solo, base_url=base_url))


def _run_once(
    workload: Workload, root: Path, *, num_workers: int, solo: bool, base_url: str | None
) -> int:
    """Plays and judges one workload and returns the exit code; `base_url`: of a server that was
    named in place of a file."""
    from suite.playing.preflight import doubts, unheard_priorities

    for note in [*unheard_priorities(workload.spec, workload.engines), *doubts(workload.plan)]:
        typer.echo(f"! {note}", err=True)
    if base_url is not None:
        meet_server(base_url, workload)
    outcome = _play(workload, root, num_workers=num_workers)
    if solo and all(trial.status == "complete" for trial in outcome.manifest.trials):
        _play_alone(workload, outcome.directory)
    code = _judge(outcome)
    if base_url is not None:
        say_how_to_change(base_url)
    return code


def _refuse(options: Mapping[str, object], why: str) -> None:
    from workloads.errors import InputError

    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name} {why}")


def _chosen(source: WorkloadSource, engines: Sequence[str]) -> WorkloadSource:
    """Returns the workload with the chosen engines alone; says what is left out with the others."""
    from suite.playing.chosen_engines import choose_engines

    if not engines:
        return source
    source, notes = choose_engines(source, engines)
    for note in notes:
        typer.echo(f"! {note}", err=True)
    return source


def _play(workload: Workload, root: Path, *, num_workers: int) -> RunOutcome:
    from suite.playing.run_display import RunDisplay
    from suite.playing.runner import run as run_workload

    with RunDisplay(workload) as progress:
        return run_workload(workload, root=root, num_workers=num_workers, observer=progress)


def _play_alone(workload: Workload, run_directory: Path) -> None:
    """Plays the workload once more without neighbours, into a folder of the run."""
    from suite.playing.run_display import RunDisplay
    from suite.playing.runner import run_in
    from suite.playing.solo import solo_workload
    from suite.records.run_directory import SOLO_FOLDER

    alone = solo_workload(workload)
    directory = run_directory / SOLO_FOLDER
    directory.mkdir()
    with RunDisplay(alone, what=", each conversation alone") as progress:
        run_in(directory, alone, num_workers=1, observer=progress)


def _judge(outcome: RunOutcome) -> int:
    """Returns the exit code; Ctrl-C now costs the judgement only."""
    try:
        return _conclude(outcome)
    except KeyboardInterrupt:
        again = f"fsbench report {quote(str(outcome.directory))}"
        typer.echo(f"fsbench: stopped; judge what was measured with: {again}", err=True)
        return ExitCode.INCOMPLETE


def _conclude(outcome: RunOutcome) -> int:
    """Measures, writes and shows the run; returns the exit code."""
    from reports.pages.run import write_report
    from reports.text.terminal import show_summary
    from suite.judging.metrics_file import write_metrics

    if not any(trial.counts.recorded for trial in outcome.manifest.trials):
        typer.echo(f"fsbench: nothing was measured; logs are in {outcome.directory}", err=True)
        if outcome.is_input_error:
            return ExitCode.BAD_INPUT
        write_metrics(outcome.directory)
        typer.echo(f"report: {write_report(outcome.directory)}")
        return ExitCode.INCOMPLETE
    metrics = write_metrics(outcome.directory)
    show_summary(metrics, write_report(outcome.directory))
    return verdict(metrics, outcome.directory)
