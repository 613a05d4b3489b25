"""Turn files as a run leaves them, written from records that a test has made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from suite.records.turn_records import TURN_SCHEMA, TurnRecord, turn_row, write_table


def write_turns(
    path: Path, records: Sequence[TurnRecord], *, started_at_monotonic_s: float
) -> None:
    """Writes the records as a turns.parquet; the run's start is in its metadata."""
    table = pa.Table.from_pylist([turn_row(record) for record in records], schema=TURN_SCHEMA)
    write_table(path, table, started_at_monotonic_s=started_at_monotonic_s)
