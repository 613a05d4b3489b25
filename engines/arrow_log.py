"""An append-only table on disk that survives a kill: rows go out as an Arrow IPC stream, batch by
batch; whatever was flushed can be read, with or without the stream's end mark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import accumulate, chain
from operator import attrgetter
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
        pa.array(())  # the first one ever imports pandas: half a second, now and not in a step
        self._file.flush()

    def append(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._rows_per_batch:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self.write(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()
        self._file.flush()

    def write(self, batch: pa.RecordBatch) -> None:
        """Writes rows that are columns already."""
        self._stream.write_batch(batch)

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


class RecordLog:
    """Dataclass records, which wait as they are and are spelt out column by column on `flush`."""

    def __init__(self, path: Path, record_type: type) -> None:
        self._schema = schema_of(record_type)
        self._records: list[Any] = []
        self._log = ArrowLog(path, self._schema)

    def __len__(self) -> int:
        """Returns how many records wait."""
        return len(self._records)

    def append(self, record: object) -> None:
        self._records.append(record)

    def flush(self) -> None:
        if self._records:
            self._log.write(record_batch(self._records, self._schema))
            self._records.clear()
        self._log.flush()

    def close(self) -> None:
        self.flush()
        self._log.close()


def record_batch(records: Sequence[object], schema: pa.Schema) -> pa.RecordBatch:
    """Returns the records, at least one, as columns; `schema` is of their dataclass."""
    columns = zip(*map(attrgetter(*schema.names), records), strict=True)
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Returns the column as Arrow has it. Dataclasses inside are spelt out field by field, without
    a dict for each."""
    if pa.types.is_struct(kind):
        fields = list(kind)
        columns = [list(map(attrgetter(field.name), column)) for field in fields]
        arrays = [_array(each, field.type) for each, field in zip(columns, fields, strict=True)]
        return pa.StructArray.from_arrays(arrays, fields=fields)
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        ends = accumulate(map(len, column), initial=0)
        items = _array(list(chain.from_iterable(column)), kind.value_type)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items, type=kind)
    return pa.array(column, kind)


def schema_of(record_type: type) -> pa.Schema:
    """Returns the columns of a log whose rows are `asdict` of this dataclass. Fields may be float,
    int, str (enums too), one of them or None, a dataclass, or a tuple of any length of one of
    them."""
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
    """Returns all flushed rows of logs that share a schema; a batch cut short by a kill is left
    out.

    Raises ValueError when none of them can be read.
    """
    batches: list[pa.RecordBatch] = []
    schema = None
    for path in paths:
        with path.open("rb") as file:
            own = _opened(file)
            if own is not None:
                schema = schema or own.schema
                batches += _batches(own)
    if schema is None:
        raise ValueError(f"no readable log among {[str(path) for path in paths]}")
    return pa.Table.from_batches(batches, schema=schema)


def mapped_arrow_log(path: Path) -> pa.Table:
    """Returns all flushed rows of one log, which stay in the file: only what is touched takes
    memory. The file must stay while the table is used. Raises ValueError."""
    reader = _opened(pa.memory_map(str(path))) if path.stat().st_size else None
    if reader is None:
        raise ValueError(f"{path} is no readable log")
    return pa.Table.from_batches(list(_batches(reader)), schema=reader.schema)


def _opened(file: Any) -> Any:
    """Returns a reader, or None where not even the schema was written."""
    try:
        return pa.ipc.open_stream(file)
    except (EOFError, OSError, pa.ArrowInvalid):
        return None


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    """Yields batches up to the end mark, or to a batch that was cut short."""
    while True:
        try:
            yield reader.read_next_batch()
        except (StopIteration, EOFError, OSError, pa.ArrowInvalid):
            return
