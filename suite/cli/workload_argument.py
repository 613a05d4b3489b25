"""The argument that names a workload: a file, or the URL of a server in place of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from workloads.source import WorkloadSource

WorkloadArgument = Annotated[
    str,
    typer.Argument(
        metavar="WORKLOAD|URL",
        help="A workload file (YAML), or the URL of a running server (http://127.0.0.1:8000/v1) "
        "for the default workload against it.",
    ),
]


def read_workload(named: str, overrides: Sequence[str] | None) -> WorkloadSource:
    """Returns the file, or the default workload for the URL, under `--set`. Raises InputError."""
    from pathlib import Path

    from workloads.attach import attach_source, base_url_of
    from workloads.source import read_source

    base_url = base_url_of(named)
    if base_url is None:
        return read_source(Path(named), overrides or [])
    return attach_source(base_url, overrides or [])
