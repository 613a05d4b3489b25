"""`model`: the shipped models, for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.app import app

model = typer.Typer(no_args_is_help=True, help="The shipped models, for other engines.")
app.add_typer(model, name="model")


@model.command()
def write(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Gets the model's files.")],
    preset: Annotated[str, typer.Option(help="Which model.")] = "tiny-llama",
    seed: Annotated[int, typer.Option(help="Of the weights, as `weights_seed`.")] = 0,
) -> None:
    """Write a preset as a Hugging Face folder, with the weights that the embedded engine has."""
    from engines.errors import EngineInputError
    from engines.models.model_folder import write_model_folder

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EngineInputError(f"{folder}: exists and is no empty folder; name a new one")
    write_model_folder(folder, preset=preset, seed=seed)
    typer.echo(f"{folder}: {preset}, seed {seed}")
