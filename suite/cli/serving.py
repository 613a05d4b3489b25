"""`serve`: the embedded engine as a server of its own."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from suite.cli.app import app


@app.command()
def serve(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A preset (tiny-llama), a Hugging Face folder or a .gguf file.",
        ),
    ],
    host: Annotated[str, typer.Option(help="Any but loopback demands a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = a free one.")] = 8000,
    api_key: Annotated[
        str | None, typer.Option(envvar="FSBENCH_API_KEY", help="What clients must present.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An engine setting, e.g. kv_tokens=8192."),
    ] = None,
) -> None:
    """Serve the embedded engine as an OpenAI-compatible API until stopped."""
    from engines.embedded.settings import FastSwitchSettings, ProcessConfig, served_name
    from engines.models.model_files import check_model
    from engines.serving.serve import bind
    from suite.playing.workload import engine_settings

    check_model(model)
    entry = {"kv_tokens": 8192, "swap_tokens": 81920, "model": model}
    resolved = engine_settings(FastSwitchSettings, entry, settings or [])
    config = ProcessConfig(
        settings=resolved,
        model_name=served_name(model),
        host=host,
        port=port,
        api_key_env="FSBENCH_API_KEY" if api_key else None,
    )
    bind(host, port, api_key=api_key).close()  # what it refuses is told before torch is imported
    typer.echo(f"loading {model}: torch first, then the weights, then a warm-up …", err=True)
    argv = config.argv()
    environment = {**os.environ, "FSBENCH_API_KEY": api_key} if api_key else os.environ
    os.execve(argv[0], argv, environment)
