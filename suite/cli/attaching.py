"""A server in place of a workload file: what `run URL` says around the run, and `init`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import app

if TYPE_CHECKING:
    from suite.playing.workload import Workload


@app.command()
def init(
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="The server's; default: the one in the file."),
    ] = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The file to write; a new one.")] = Path(
        "server.yaml"
    ),
) -> None:
    """Write the workload that `run URL` plays as a commented file, to be changed."""
    from workloads.attach import attach_text, base_url_of
    from workloads.errors import InputError

    base_url = None if url is None else base_url_of(url)
    if url is not None and base_url is None:
        raise InputError(f"{url}: must be a URL like http://127.0.0.1:8000/v1")
    text = attach_text(base_url)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{out}: exists; name another file with --out") from None
    typer.echo(f"{out}: change it, then: fsbench run {quote(str(out))}")


def meet_server(base_url: str, workload: Workload) -> None:
    """Says which model answers at the URL and what it will be asked, before anything is played.

    Raises EngineError or EngineInputError where it can not be asked.
    """
    from engines.openai import OpenAISettings, find_endpoint
    from engines.secrets import shown_url
    from reports.words.units import duration
    from suite.plurals import several

    for name, settings in workload.engines.items():
        if isinstance(settings, OpenAISettings) and settings.base_url == base_url:
            model = find_endpoint(name, settings).model
            typer.echo(f"{shown_url(base_url)} serves {model}", err=True)
    promises = "; ".join(
        f"{each.name} TTFT {duration(each.slo.ttft_s)}, TBT {duration(each.slo.tbt_s)}"
        for each in workload.plan.user_classes
    )
    typer.echo(
        "without a workload file it is asked the default one, "
        f"{several(len(workload.plan.conversations), 'conversation')}; the SLOs are fsbench's "
        f"choice, not yours ({promises})",
        err=True,
    )


def say_how_to_change(base_url: str) -> None:
    """Tells the way from the default workload to one's own."""
    from engines.secrets import shown_url

    shown = quote(shown_url(base_url))
    typer.echo(
        "that was the default workload: change a value with --set arrivals.concurrency=8, or all "
        f"of it in a file: fsbench init {shown}; what the server takes: fsbench doctor {shown}",
        err=True,
    )
