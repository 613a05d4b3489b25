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

from suite.sweep.manifest import AxisEntry, SweepManifest

Json = dict[str, Any]

# Column: its place in an engine's numbers, and its type.
COLUMNS: dict[str, tuple[tuple[str, str], pa.DataType]] = {
    "num_users": (("slo", "num_users"), pa.int64()),
    "users_within_slo_ratio": (("slo", "users_within_slo_ratio"), pa.float64()),
    "turn_attainment_ratio": (("slo", "turn_attainment_ratio"), pa.float64()),
    "ttft_p50_s": (("ttft_s", "p50"), pa.float64()),
    "ttft_p99_s": (("ttft_s", "p99"), pa.float64()),
    "ttft_p999_s": (("ttft_s", "p999"), pa.float64()),
    "tbt_p50_s": (("tbt_s", "p50"), pa.float64()),
    "tbt_p99_s": (("tbt_s", "p99"), pa.float64()),
    "tbt_p999_s": (("tbt_s", "p999"), pa.float64()),
    "output_tokens_per_s": (("throughput", "output_tokens_per_s"), pa.float64()),
    "turns_per_s": (("throughput", "turns_per_s"), pa.float64()),
    "num_preemptions": (("context_switch", "num_preemptions"), pa.int64()),
    "mean_blocks_per_copy": (("context_switch", "mean_blocks_per_copy"), pa.float64()),
    "stall_ratio": (("context_switch", "stall_ratio"), pa.float64()),
    "is_overloaded": (("steady_state", "is_overloaded"), pa.bool_()),
    "served_ratio": (("steady_state", "served_ratio"), pa.float64()),
    "num_turns_planned": (("counts", "planned"), pa.int64()),
    "num_turns_failed": (("counts", "failed"), pa.int64()),
    "num_turns_lost": (("counts", "lost"), pa.int64()),
}
# Those that a metrics.json may give an interval for: two more columns, …_low and …_high.
WITH_INTERVAL = tuple(
    name for name in COLUMNS if name.startswith(("users_within", "turn_attain", "ttft_", "tbt_"))
)


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
