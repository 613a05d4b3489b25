"""What an engine said of itself in one trial of a run: its logs, on the run's clock.

`steps`, `requests` and `transfers`, each where the engine gives it; the columns are those of
step_log.py, request_log.py and transfer_log.py in engines/core/. `server_metrics` is what the
server of another engine tells (engines/server_metrics.py). An engine writes Arrow streams
while it runs; afterwards they become Parquet, and instants (`at`, `*_at`, also in lists of structs)
seconds after the trial's start.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.api import ENGINE_LOGS
from engines.arrow_log import mapped_arrow_log
from suite.records.turn_records import read_table

ROWS_PER_GROUP = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLogs:
    """The logs of one trial; None where the engine gives none."""

    steps: pa.Table | None
    requests: pa.Table | None
    transfers: pa.Table | None
    server_metrics: pa.Table | None = None


def read_engine_logs(directory: Path) -> EngineLogs:
    paths = {name: directory / f"{name}.parquet" for name in ENGINE_LOGS}
    return EngineLogs(
        **{name: read_table(path) if path.exists() else None for name, path in paths.items()}
    )


def finish_engine_logs(directory: Path, started_at_monotonic_s: float | None) -> None:
    """Turns NAME.arrows into NAME.parquet; without a start nothing was played, and nothing is
    kept."""
    for name in ENGINE_LOGS:
        log = directory / f"{name}.arrows"
        if not log.exists():
            continue
        if started_at_monotonic_s is not None:
            with contextlib.suppress(ValueError):  # killed before its first bytes went out
                _rewrite(
                    mapped_arrow_log(log), directory / f"{name}.parquet", started_at_monotonic_s
                )
        log.unlink()


def _rewrite(table: pa.Table, path: Path, start: float) -> None:
    """Writes the log row group by row group, for it may be larger than the memory."""
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for first in range(0, table.num_rows, ROWS_PER_GROUP):
            writer.write_table(relative_to(table.slice(first, ROWS_PER_GROUP), start))


def relative_to(table: pa.Table, start: float) -> pa.Table:
    """Returns the table with every instant in seconds after `start`."""
    table = table.combine_chunks()
    columns = [
        _relative(field.name, column.combine_chunks(), start)
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _relative(name: str, column: pa.Array, start: float) -> pa.Array:
    kind = column.type
    if pa.types.is_floating(kind) and (name == "at" or name.endswith("_at")):
        return pc.subtract(column, pa.scalar(start))
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(
            column.offsets, _relative(name, column.values, start), type=kind
        )
    if pa.types.is_struct(kind):
        fields = list(kind)
        inner = [_relative(each.name, column.field(each.name), start) for each in fields]
        return pa.StructArray.from_arrays(inner, fields=fields)
    return column
