"""sweep.parquet: a row for each cell and engine with the numbers a sweep is looked at for.

They are those of the cells' metrics.json; docs/metrics.md (A sweep's rows) names the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import shown_in
from suite.sweep.manifest import AxisEntry, SweepManifest

Json = dict[str, Any]

# What is no metric: column, its path in an engine's numbers, its type.
_OTHERS = (
    ("num_users", ("slo", "num_users"), pa.int64()),
    ("is_overloaded", ("steady_state", "is_overloaded"), pa.bool_()),
    ("num_turns_planned", ("counts", "planned"), pa.int64()),
)


def column(row: Row) -> str:
    """Returns a metric's column: `ttft_p99_s`, `num_turns_failed`, else its own key."""
    if row.is_latency:
        return f"{row.group}_{row.key}_s"
    return f"num_turns_{row.key}" if row.is_count_of_turns else row.key


# Column: its path in an engine's numbers, and its type.
COLUMNS: dict[str, tuple[tuple[str, ...], pa.DataType]] = {
    **{name: (path, kind) for name, path, kind in _OTHERS},
    **{
        column(row): (row.path, pa.int64() if row.kind == "count" else pa.float64())
        for row in shown_in("sweep")
    },
}
# Those that a metrics.json may give an interval for: two more columns, …_low and …_high.
WITH_INTERVAL = tuple(column(row) for row in shown_in("sweep") if row.interval is not None)


def engine_row(numbers: Json) -> Json:
    """Returns the columns of one engine in a metrics.json; None where it has no such number."""
    row: Json = {"status": numbers["status"]}
    for name, ((group, key), _) in COLUMNS.items():
        values = numbers.get(group) or {}
        row[name] = values.get(key)
        if name in WITH_INTERVAL:
            interval = (values.get("interval") or {}).get(key)
            row[f"{name}_low"], row[f"{name}_high"] = interval or (None, None)
    return row


def write_summary(directory: Path, manifest: SweepManifest) -> None:
    """Writes the rows into sweep.parquet, and into sweep.json with it."""
    manifest.rows = list(_rows(directory, manifest))
    manifest.write(directory)
    table = pa.Table.from_pylist(manifest.rows, schema=_schema(manifest.axes))
    partial = directory / "sweep.parquet.partial"
    pq.write_table(table, partial)
    partial.replace(directory / "sweep.parquet")


def _rows(directory: Path, manifest: SweepManifest) -> Iterator[Json]:
    """Yields rows in the order of the cells; a cell that left no numbers has none."""
    for cell in manifest.cells:
        path = directory / "cells" / cell.name / "metrics.json"
        if not path.exists():
            continue
        metrics = json.loads(path.read_text())
        values = {axis.key: _plain(axis, cell.values[axis.key]) for axis in manifest.axes}
        for engine, numbers in metrics["engines"].items():
            yield {
                "cell": cell.name,
                "engine": engine,
                **values,
                "plan_digest": metrics["plan_digest"],
                **engine_row(numbers),
            }


def _schema(axes: Sequence[AxisEntry]) -> pa.Schema:
    fields = [("cell", pa.string()), ("engine", pa.string())]
    fields += [(axis.key, _axis_type(axis)) for axis in axes]
    fields += [("plan_digest", pa.string()), ("status", pa.string())]
    for name, (_, kind) in COLUMNS.items():
        ends = (name, f"{name}_low", f"{name}_high") if name in WITH_INTERVAL else (name,)
        fields += [(each, kind) for each in ends]
    return pa.schema(fields)


def _axis_type(axis: AxisEntry) -> pa.DataType:
    kinds = {type(value) for value in axis.values}
    if kinds <= {int, float}:
        return pa.float64() if float in kinds else pa.int64()
    return pa.bool_() if kinds == {bool} else pa.string()


def _plain(axis: AxisEntry, value: Any) -> Any:
    """Returns the value as the column's type has it: as JSON where the values are not all text."""
    if _axis_type(axis) != pa.string() or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True)
