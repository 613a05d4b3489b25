"""`calibrate`: the driver on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.app import app


@app.command()
def calibrate(
    streams: Annotated[int, typer.Option(min=1, help="Answers streamed at the same time.")] = 64,
    rate: Annotated[float, typer.Option(min=0.1, help="Tokens per second of each.")] = 50.0,
    duration: Annotated[float, typer.Option(min=0.5, help="Seconds.")] = 5.0,
    workers: Annotated[int, typer.Option(min=1, help="Driver processes.")] = 1,
) -> None:
    """Measure how far off this driver's instants are on this machine."""
    import tempfile

    from reports.text.terminal import show_calibration
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
