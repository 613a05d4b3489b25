"""The app that the commands hang on: its words, its errors, its exit codes."""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup


class ExitCode(IntEnum):
    FINE = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    INCONCLUSIVE = 3
    INCOMPLETE = 4  # what was measured is kept and named


# As a user meets them; a command that is not named here comes last.
ORDER = "run capacity report view trace compare gate baseline export plan validate schema"


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        order = ORDER.split()
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


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
    elif isinstance(error, (FileNotFoundError, IsADirectoryError, PermissionError)):
        error = InputError(str(error).splitlines()[0])  # pyarrow names the file in its words
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
    cls=_Commands,
    no_args_is_help=True,
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


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"fsbench {version('fsbench')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    del version, debug  # read where errors are shown
