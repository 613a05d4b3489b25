"""The steps that an embedded engine has logged in a run, as a profile is fitted to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.simulated.step_fit import Steps
from suite.errors import InputError
from suite.judging.metrics_file import read_run
from suite.records.turn_records import read_table

KIND = "fastswitch"


def measured_steps(run: Path, engine: str | None) -> tuple[str, Steps]:
    """Of one embedded engine, all repeats: its name and its steps. Raises InputError."""
    manifest, _ = read_run(run)
    names = [name for name, each in manifest.engines.items() if each.get("kind") == KIND]
    name = engine or (names[0] if names else None)
    if name not in names:
        raise InputError(
            f"{run}: engine must be one of kind {KIND}, which alone logs real steps, got "
            f"{name or 'none in this run'}"
        )
    block_size = int(manifest.engines[name]["block_size"])
    paths = [
        part.directory(run) / "steps.parquet" for part in manifest.parts if part.engine == name
    ]
    tables = [read_table(path) for path in paths if path.exists()]
    if not tables:
        raise InputError(f"{run}: engine {name} has left no steps.parquet")
    columns = {
        column: np.concatenate([table[column].to_numpy() for table in tables])
        for column in (
            "execute_s",
            "bookkeeping_s",
            "num_decode_tokens",
            "num_prefill_tokens",
            "num_used_device_blocks",
        )
    }
    return name, Steps(
        duration_s=columns["execute_s"] + columns["bookkeeping_s"],
        num_decodes=columns["num_decode_tokens"].astype(np.int64),
        num_prefill_tokens=columns["num_prefill_tokens"].astype(np.int64),
        num_context_tokens=columns["num_used_device_blocks"].astype(np.int64) * block_size,
    )
