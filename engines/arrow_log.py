"""An append-only table on disk that survives a kill: rows go out as an Arrow IPC stream, batch by
batch; whatever was flushed can be read, with or without the stream's end mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, TracebackType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

import pyarrow as pa


class ArrowLog:
    """One writer, one thread. Rows go out at `rows_per_batch`, on flush and on close."""

    def __init__(self, path: Path, schema: pa.Schema, *, rows_per_batch: int = 256) -> None:
        self._schema = schema
        self._rows_per_batch = rows_per_batch
        self._rows: list[Mapping[str, Any]] = []
        self._file = path.open("wb")
        self._stream = pa.ipc.new_stream(self._file, schema)
        self._file.flush()

    def append(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._rows_per_batch:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._stream.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self.flush()
            self._stream.close()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def schema_of(record_type: type) -> pa.Schema:
    """The columns of a log whose rows are `asdict` of this dataclass. Fields may be float, int,
    str (enums too), one of them or None, a dataclass, or a tuple of any length of one of them."""
    return pa.schema(_columns(record_type))


def _columns(record_type: type) -> list[pa.Field]:
    hints = get_type_hints(record_type)
    return [_column(field.name, hints[field.name]) for field in fields(record_type)]


def _column(name: str, hint: Any) -> pa.Field:
    if isinstance(hint, UnionType):
        (hint,) = [each for each in get_args(hint) if each is not NoneType]
        return pa.field(name, _column(name, hint).type)
    if get_origin(hint) is tuple:
        item, _ = get_args(hint)
        return pa.field(name, pa.list_(_column("item", item)), nullable=False)
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return pa.field(name, pa.struct(_columns(hint)), nullable=False)
    kinds = ((float, pa.float64()), (int, pa.int64()), (str, pa.string()))
    kind = next(kind for base, kind in kinds if issubclass(hint, base))
    return pa.field(name, kind, nullable=False)


def read_arrow_logs(paths: Sequence[Path]) -> pa.Table:
    """All flushed rows of logs that share a schema; a batch cut short by a kill is left out."""
    batches: list[pa.RecordBatch] = []
    schema = None
    for path in paths:
        with path.open("rb") as file:
            try:
                reader = pa.ipc.open_stream(file)
                schema = schema or reader.schema
                while True:
                    batches.append(reader.read_next_batch())
            except (StopIteration, EOFError, OSError, pa.ArrowInvalid):
                continue
    if schema is None:
        raise ValueError(f"no readable log among {[str(path) for path in paths]}")
    return pa.Table.from_batches(batches, schema=schema)
