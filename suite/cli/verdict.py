"""The exit code of a run that has been measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from suite.cli.app import ExitCode


def why_incomplete(metrics: dict[str, Any], directory: Path) -> str | None:
    """Returns in one line what keeps the run from being judged; None where nothing does."""
    if any(engine["status"] != "complete" for engine in metrics["engines"].values()):
        return f"the run could not be completed; what was measured is in {directory}"
    for name, engine in metrics["engines"].items():
        if not engine["counts"]["recorded"]:
            return f"no turn of engine {name!r} was recorded; see the warnings"
        if engine["counts"]["failed"] == engine["counts"]["recorded"]:
            return f"every turn of engine {name!r} failed; see the warnings"
    return None


def verdict(metrics: dict[str, Any], directory: Path) -> int:
    """Returns the exit code of a measured run.

    What an incomplete run has kept can not pass a gate: the turns it lacks may be the slow ones.
    """
    from suite.judging.gates import exit_code

    if incomplete := why_incomplete(metrics, directory):
        typer.echo(f"fsbench: {incomplete}", err=True)
        return ExitCode.INCOMPLETE
    return exit_code(gate["outcome"] for gate in metrics["gates"])
