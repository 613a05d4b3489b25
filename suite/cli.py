"""`fsbench`: the commands, their words and their exit codes. Nothing heavy is imported up here,
so that `--help` answers at once; every command imports what it needs."""

from __future__ import annotations

import os
import signal
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

if TYPE_CHECKING:
    from engines.fastswitch.settings import FastSwitchSettings
    from suite.runner import RunOutcome


class ExitCode(IntEnum):
    FINE = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    INCONCLUSIVE = 3
    INCOMPLETE = 4  # what was measured is kept and named


class _App(typer.Typer):
    """Turns the errors a user can mend into one line and an exit code."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except Exception as error:
            if "--debug" in sys.argv:
                raise
            _die(error)


def _die(error: Exception) -> NoReturn:
    from engines.api import EngineError, EngineInputError
    from suite.errors import InputError, RunError
    from workloads.errors import WorkloadError

    if isinstance(error, (InputError, WorkloadError, EngineInputError)):
        code = ExitCode.BAD_INPUT
    elif isinstance(error, (EngineError, RunError)):
        code = ExitCode.INCOMPLETE
    elif isinstance(error, OSError) and error.filename is not None:
        error = InputError(f"{error.filename}: {(error.strerror or str(error)).lower()}")
        code = ExitCode.BAD_INPUT
    elif type(error).__name__ == "ArrowInvalid":  # pyarrow is not imported for this
        error = InputError(f"a file of the run is damaged: {str(error).splitlines()[0]}")
        code = ExitCode.BAD_INPUT
    else:
        raise error
    typer.echo(f"fsbench: {error}", err=True)
    sys.exit(code)


app = _App(
    name="fsbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="How many of your LLM server's users are inside their SLO, how bad are the tails, "
    "and what does switching between them cost?",
    epilog="Exit codes: 0 fine · 1 a gate failed · 2 bad input · 3 inconclusive · "
    "4 the run could not be completed.",
)

WorkloadFile = Annotated[Path, typer.Argument(metavar="WORKLOAD", help="A workload file (YAML).")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. arrivals.rate=2."),
]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    del debug  # read where errors are shown


@app.command()
def run(
    workload_file: WorkloadFile,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("runs"),
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="Play this plan.parquet instead of a new one.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Driver processes.")] = 1,
) -> None:
    """Play a workload against its engines, then measure, judge and report."""
    from suite.live import LiveProgress
    from suite.runner import run as run_workload
    from suite.workload import load_workload

    workload = load_workload(workload_file, overrides or [], plan_file=plan_file)
    _interrupt_on_sigterm()
    with LiveProgress(workload) as progress:
        outcome = run_workload(workload, root=out, num_workers=workers, observer=progress)
    raise typer.Exit(_conclude(outcome))


@app.command()
def report(directory: RunDirectory) -> None:
    """Measure a run's records again; write its metrics.json and report.html anew."""
    from reports.html import write_report
    from suite.metrics import write_metrics

    write_metrics(directory)
    typer.echo(f"report: {write_report(directory)}")


@app.command()
def view(directory: RunDirectory) -> None:
    """Open a run's report in the browser."""
    import webbrowser

    from suite.errors import InputError

    page = directory / "report.html"
    if not page.exists():
        raise InputError(f"{page}: no report there; write it with: fsbench report {directory}")
    typer.echo(page.resolve().as_uri())
    webbrowser.open(page.resolve().as_uri())


@app.command()
def trace(
    directory: RunDirectory,
    engine: Annotated[
        str | None, typer.Option(help="Whose; default: the first that logged its steps.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Which repeat.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="The file, gzipped if named .gz; default: in the run.")
    ] = None,
) -> None:
    """Write what an engine did as a trace for ui.perfetto.dev (or chrome://tracing)."""
    from reports.trace import write_trace

    path = write_trace(directory, engine=engine, repeat=repeat, out=out)
    typer.echo(f"trace: {path}; open it at https://ui.perfetto.dev (it stays on your machine)")


@app.command()
def gate(directory: RunDirectory) -> None:
    """Judge a run by its workload's gates; the exit code is the verdict."""
    from reports.terminal import show_gates
    from suite.metrics import measure

    metrics = measure(directory)
    show_gates(metrics)
    raise typer.Exit(_verdict(metrics, directory))


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


@app.command()
def calibrate(
    streams: Annotated[int, typer.Option(min=1, help="Answers streamed at the same time.")] = 64,
    rate: Annotated[float, typer.Option(min=0.1, help="Tokens per second of each.")] = 50.0,
    duration: Annotated[float, typer.Option(min=0.5, help="Seconds.")] = 5.0,
    workers: Annotated[int, typer.Option(min=1, help="Driver processes.")] = 1,
) -> None:
    """Measure how far off this driver's instants are on this machine."""
    import tempfile

    from reports.terminal import show_calibration
    from suite.driver.calibrate import calibrate as measure

    with tempfile.TemporaryDirectory() as directory:
        show_calibration(
            measure(
                Path(directory),
                num_streams=streams,
                tokens_per_s=rate,
                duration_s=duration,
                num_workers=workers,
            )
        )


@app.command()
def doctor() -> None:
    """Show versions and machine, and what would keep a measurement from being good here."""
    from suite.doctor import examine

    for line in examine():
        typer.echo(line)


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="A preset, a Hugging Face folder, a .gguf file.")],
    host: Annotated[str, typer.Option(help="Any but loopback demands a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = a free one.")] = 8000,
    api_key: Annotated[
        str | None, typer.Option(envvar="FSBENCH_API_KEY", help="What clients must present.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An engine setting, e.g. kv_tokens=8192."),
    ] = None,
) -> None:
    """Serve the embedded engine as an OpenAI-compatible API until stopped."""
    from engines.fastswitch.kind import ProcessConfig, served_name
    from suite.workload import engine_settings

    entry = {"kv_tokens": 8192, "swap_tokens": 81920, "model": model}
    resolved = engine_settings("fastswitch", entry, settings or [])
    config = ProcessConfig(
        settings=cast("FastSwitchSettings", resolved),
        model_name=served_name(model),
        host=host,
        port=port,
        api_key_env="FSBENCH_API_KEY" if api_key else None,
    )
    argv = config.argv()
    environment = {**os.environ, "FSBENCH_API_KEY": api_key} if api_key else os.environ
    os.execve(argv[0], argv, environment)


def _interrupt_on_sigterm() -> None:
    """Being told to end is the same as Ctrl-C: keep what was measured, leave no process."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

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
    return _verdict(metrics, outcome.directory)


def _verdict(metrics: dict[str, Any], directory: Path) -> int:
    """What an incomplete run has kept can not pass a gate: the turns it lacks may be the slow."""
    from suite.gates import exit_code

    if any(engine["status"] != "complete" for engine in metrics["engines"].values()):
        typer.echo(
            f"fsbench: the run could not be completed; what was measured is in {directory}",
            err=True,
        )
        return ExitCode.INCOMPLETE
    for name, engine in metrics["engines"].items():
        if engine["counts"]["failed"] == engine["counts"]["recorded"]:
            typer.echo(f"fsbench: every turn of engine {name!r} failed; see the warnings", err=True)
            return ExitCode.INCOMPLETE
    return exit_code(gate["outcome"] for gate in metrics["gates"])


if __name__ == "__main__":
    app()
