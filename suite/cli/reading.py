"""Commands on the directory a run has left: `report`, `view`, `trace`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from suite.cli.app import RunDirectory, app


@app.command()
def report(
    directory: RunDirectory,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="DIR", help="Also the main figures as pictures (Chromium)."),
    ] = None,
) -> None:
    """Measure a run's records again; write its metrics.json and report.html anew.

    A sweep's directory: the same with all its cells."""
    if (directory / "sweep.json").exists():
        from suite.cli.sweeping import report_sweep

        report_sweep(directory)
        return
    from reports.pages.run import write_report
    from suite.judging.metrics_file import write_metrics

    write_metrics(directory)
    page = write_report(directory)
    typer.echo(f"report: {page}")
    if png is not None:
        from reports.drawing.images import write_images

        typer.echo(f"pictures: {len(write_images(page, png))} in {png}")


@app.command()
def view(
    directory: RunDirectory,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it on loopback instead.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 = a free one.")] = 0,
) -> None:
    """Open a run's report in the browser, or serve it."""
    import webbrowser

    from workloads.errors import InputError

    page = directory / "report.html"
    if not page.exists() and (directory / "sweep.json").exists():
        raise InputError(
            f"{page}: no report there; fsbench report {directory} writes one where a single "
            f"setting is swept, fsbench report {directory}/cells/CELL that of a cell"
        )
    if not page.exists():
        raise InputError(
            f"{page}: no report there; write it with: fsbench report {quote(str(directory))}"
        )
    if serve:
        from reports.serving import serve_page

        serve_page(page, port, lambda address: typer.echo(f"{address} (Ctrl-C ends it)"))
        return
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
        Path | None,
        typer.Option(dir_okay=False, help="The file, gzipped if named .gz; default: in the run."),
    ] = None,
) -> None:
    """Write what an engine did as a trace for ui.perfetto.dev (or chrome://tracing)."""
    from reports.trace import write_trace

    path = write_trace(directory, engine=engine, repeat=repeat, out=out)
    typer.echo(f"trace: {path}; open it at https://ui.perfetto.dev (it stays on your machine)")
