"""`doctor`: is this machine, and this server, fit to be measured?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import ExitCode, Overrides, app

if TYPE_CHECKING:
    from suite.doctor.findings import Examined


@app.command()
def doctor(
    named: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL|WORKLOAD]",
            help="A running server, or a workload file's attached ones; default: this machine.",
        ),
    ] = None,
    *,
    overrides: Overrides = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for each request to a server.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Show what would keep a measurement from being good on this machine, or at a server.

    A server is asked a few short streamed requests: what it takes (ignore_eos, token ids, priority,
    cache_salt), how it streams, what its chat template adds, and what to write into a workload."""
    if named is None:
        _examine_machine(as_json=as_json)
        return
    examined = _examine_servers(named, overrides or [], timeout_s=timeout)
    if as_json:
        found = [each.as_json() for each in examined]
        typer.echo(json.dumps(found[0] if len(found) == 1 else found, indent=1))
    else:
        _show(examined)
    are_fine = all(each.can_be_measured and each.why_broken_off is None for each in examined)
    raise typer.Exit(ExitCode.FINE if are_fine else ExitCode.INCOMPLETE)


def _examine_machine(*, as_json: bool) -> None:
    from suite.doctor.machine import examine

    lines = examine()
    if as_json:
        typer.echo(json.dumps({"machine": list(lines)}, indent=1))
        return
    for line in lines:
        typer.echo(line)


def _examine_servers(named: str, overrides: list[str], *, timeout_s: float) -> list[Examined]:
    """Returns what was found of each attached engine. Raises InputError, EngineError,
    EngineInputError."""
    from engines.openai import OpenAISettings
    from suite.cli.workload_argument import read_workload
    from suite.doctor.server import examine_server
    from suite.playing.workload import engines_of
    from workloads.errors import InputError

    engines = engines_of(read_workload(named, overrides).without_matrix())
    attached = {name: each for name, each in engines.items() if isinstance(each, OpenAISettings)}
    if not attached:
        raise InputError(f"{named}: no engine of kind openai, so there is no server to ask")

    def say(line: str) -> None:
        typer.echo(line, err=True)

    return [
        examine_server(name, settings, timeout_s=timeout_s, say=say)
        for name, settings in attached.items()
    ]


def _show(examined: list[Examined]) -> None:
    from reports.text.examined import show_examined

    for number, each in enumerate(examined):
        if number:
            typer.echo()
        show_examined(each)
