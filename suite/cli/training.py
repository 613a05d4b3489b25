"""`train`: a learned policy of the job shop, from its file to weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import Overrides, app

if TYPE_CHECKING:
    from engines.jobshop.training.train import Training
    from suite.jobshop.training_spec import LinearTraining, TrainingSpec


@app.command()
def train(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A training file (YAML).")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Checkpoints, weights, curves; a training that is there goes on. "
            "Default: runs/NAME.",
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Train a job shop's graph network, or its linear rule: checkpoints, learning curves, and
    weights to play with."""
    from suite.jobshop.training_spec import training_spec_of
    from workloads.source import read_source

    spec = training_spec_of(read_source(file, overrides or []))
    folder = out or Path("runs") / spec.name
    if spec.linear is not None:
        _train_linear(spec, spec.linear, folder)
    else:
        _train_network(spec, folder, f"fsbench train {file.name}, seed {spec.seed}")


def _train_linear(spec: TrainingSpec, settings: LinearTraining, folder: Path) -> None:
    from suite.jobshop.linear_training import train_linear

    path = train_linear(
        spec,
        settings,
        folder,
        lambda each, ratio: typer.echo(
            f"{each.number + 1}/{settings.generations} {ratio:.4f} of FIFO+BF", err=True
        ),
    )
    typer.echo(f"weights in {path}")


def _train_network(spec: TrainingSpec, folder: Path, made_by: str) -> None:
    from engines.jobshop.training.train import write_weights
    from reports.pages.training import write_training_page
    from suite.jobshop.training import training_of
    from suite.jobshop.training_display import training_display

    training = training_of(spec, folder)
    if training.iteration:
        typer.echo(f"goes on at iteration {training.iteration} of {training.num_iterations}")
    try:
        with training_display(training) as told:
            training.run(told)
    finally:  # what there is after Ctrl-C too
        if training.curve:
            typer.echo(_said(training, write_weights(training, made_by)))
            typer.echo(f"learning curves: {write_training_page(folder)}")


def _said(training: Training, path: Path) -> str:
    best = min(training.curve, key=lambda each: each.validation_ratio)
    return (
        f"best at iteration {best.iteration} of {training.iteration}: "
        f"{best.validation_ratio:.3f} of FIFO+BF's makespans on shops never trained on; "
        f"weights in {path}"
    )
