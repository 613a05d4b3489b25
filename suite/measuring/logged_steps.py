"""The steps that an embedded engine has logged in a run, as a profile is fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.errors import RunDirectoryError
from suite.records.reading import read_run
from suite.records.turn_records import read_table

COLUMNS = (
    "execute_s",
    "bookkeeping_s",
    "num_decode_tokens",
    "num_prefill_tokens",
    "num_used_device_blocks",
)


def logged_steps(
    run: Path, engine: str | None, kinds: Sequence[str]
) -> tuple[str, dict[str, npt.NDArray[Any]], int]:
    """Returns one engine's name, the columns of its step log over all repeats, each of shape
    [num_steps], and its block size in tokens. `kinds`: those whose steps are real. Raises
    RunDirectoryError, PlanFileError."""
    manifest, _ = read_run(run)
    names = [name for name, each in manifest.engines.items() if each.get("kind") in kinds]
    name = engine or (names[0] if names else None)
    if name not in names:
        raise RunDirectoryError(
            f"{run}: engine must be one of kind {' or '.join(kinds)}, which alone logs real steps, "
            f"got {name or 'none in this run'}"
        )
    parts = [part for part in manifest.parts if part.engine == name]
    paths = [part.directory(run) / "steps.parquet" for part in parts]
    tables = [read_table(path) for path in paths if path.exists()]
    if not tables:
        raise RunDirectoryError(f"{run}: engine {name} has left no steps.parquet")
    columns = {
        column: np.concatenate([table[column].to_numpy() for table in tables]) for column in COLUMNS
    }
    return name, columns, int(manifest.engines[name]["block_size"])
