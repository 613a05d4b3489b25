"""The app that the commands hang on: its words, its errors, its exit codes."""

from __future__ import annotations

import errno
import sys
import traceback
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
ORDER = "run init capacity report view trace compare gate baseline export plan validate schema"


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        order = ORDER.split()
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


# click's UsageError, which Typer ships under a private name.
_UsageError: type = typer.BadParameter.__mro__[1]
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class _App(typer.Typer):
    """Turns the errors a user can mend into one line and an exit code."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:  # not standalone: Typer would frame its errors, and end the process itself
            code = super().__call__(*args, prog_name="fsbench", standalone_mode=False, **kwargs)
        except SystemExit as ending:  # Typer's 1, of a reader that left (| head): no missed gate
            sys.exit(ExitCode.INCOMPLETE if ending.code == 1 else ending.code)
        except Exception as error:
            if "--debug" in sys.argv:
                raise
            _die(error)
        sys.exit(code)


def _die(error: Exception) -> NoReturn:
    if isinstance(error, _UsageError):
        if text := _usage_text(error):
            typer.echo(text, err=True)
        sys.exit(ExitCode.BAD_INPUT)
    told = _in_one_line(error)
    if told is None:
        traceback.print_exception(error)
        defect = "this is a defect of fsbench, please report it with the lines above"
        told = defect, ExitCode.INCOMPLETE  # not 1, which says that a gate failed
    text, code = told
    typer.echo(f"fsbench: {text}", err=True)
    sys.exit(code)


def _usage_text(error: Any) -> str:
    """Returns the line for a mistake in the options; empty where the help was printed instead."""
    message = " ".join(error.format_message().split()).replace("Value error, ", "").rstrip(".")
    if not message:
        return ""
    path = "fsbench" if error.ctx is None else error.ctx.command_path
    return f"fsbench: {message[0].lower()}{message[1:]}; see {path} --help"


def _in_one_line(error: Exception) -> tuple[str, ExitCode] | None:
    """Returns what to say and the exit code; None for what is fsbench's own mistake."""
    from engines.errors import EngineError, EngineInputError
    from suite.errors import RunDirectoryError, RunError
    from workloads.errors import InputError

    if isinstance(error, (InputError, EngineInputError, RunDirectoryError)):
        return str(error), ExitCode.BAD_INPUT
    if isinstance(error, (EngineError, RunError)):
        return str(error), ExitCode.INCOMPLETE
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}the disk is full; free some space and try again", ExitCode.INCOMPLETE
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}", ExitCode.BAD_INPUT
    first_line = str(error).partition("\n")[0]
    if isinstance(error, (FileNotFoundError, IsADirectoryError, PermissionError)):
        return first_line, ExitCode.BAD_INPUT  # pyarrow names the file in its words
    is_damage = type(error).__name__ == "ArrowInvalid"  # pyarrow is not imported for this
    return (f"a file is damaged: {first_line}", ExitCode.BAD_INPUT) if is_damage else None


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
