"""The steps that an engine on a real device has logged in a run, to fit a profile to them."""

from __future__ import annotations

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


def logged_steps(run: Path, engine: str | None) -> tuple[str, dict[str, npt.NDArray[Any]], int]:
    """Returns one engine's name, the columns of its step log over all repeats, each of shape
    [num_steps], and its block size in tokens. Raises RunDirectoryError, PlanFileError."""
    manifest, _ = read_run(run)
    names = [name for name in manifest.engines if manifest.facts_of(name).logs_real_steps]
    name = engine or (names[0] if names else None)
    if name not in names:
        raise RunDirectoryError(
            f"{run}: engine must be one that logs a real device's steps "
            f"({', '.join(names) or 'none in this run'}), got {name or 'none'}"
        )
    trials = [trial for trial in manifest.trials if trial.engine == name]
    paths = [trial.directory(run) / "steps.parquet" for trial in trials]
    tables = [read_table(path) for path in paths if path.exists()]
    if not tables:
        raise RunDirectoryError(f"{run}: engine {name} has left no steps.parquet")
    columns = {
        column: np.concatenate([table[column].to_numpy() for table in tables]) for column in COLUMNS
    }
    return name, columns, int(manifest.engines[name]["block_size"])
