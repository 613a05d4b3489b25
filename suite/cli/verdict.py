"""The exit code of a run that has been measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from suite.cli.app import ExitCode


def verdict(metrics: dict[str, Any], directory: Path) -> int:
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
