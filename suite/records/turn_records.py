"""What happened, as instants and counts: one row a turn, never a derived number.

Instants are float seconds after the run's start, on the driver's CLOCK_MONOTONIC. The start itself
(absolute CLOCK_MONOTONIC seconds) stands in the file's schema metadata as `started_at_monotonic_s`,
so that an engine's own log of the same host can be laid beside it. Virtual time starts at 0.

Rows are appended to an Arrow stream while the run goes on (a killed run stays readable up to its
last flushed batch) and rewritten as Parquet when it ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.arrow_log import mapped_arrow_log, read_arrow_logs
from suite.errors import RunDirectoryError

# Chunks of one answer that come so soon after each other came together, in one read or in several:
# no model makes ten thousand tokens a second for one reader, but a buffer lets go of that many.
TOGETHER_S = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    conversation_id: str
    turn: int  # 0 = the conversation's first
    user_id: str
    user_class: str
    priority: int | None  # as sent; None when the workload has none
    planned_output_tokens: int
    scheduled_at: float  # due; after an answer not before the client has digested it
    sent_at: float | None  # just before the request's first byte went out; None = never sent
    token_at: tuple[float, ...]  # receive instant of each chunk that carried at least one token
    tokens_per_chunk: tuple[int, ...]  # same length as token_at
    done_at: float | None  # last byte received, or the failure
    num_prompt_tokens: int | None  # as counted by the server, history included
    num_cached_tokens: int | None  # of those, how many the server says it did not recompute
    num_output_tokens: int | None  # as counted by the server, without hidden ones
    num_coalesced: int  # reads that carried more than one token event: their gaps are merged
    time_source: str  # "kernel" (SO_TIMESTAMPNS), "user", or "virtual"
    finish_reason: str | None
    error: str | None  # one line; None = the turn succeeded
    # What older files do not tell:
    error_source: str | None = None  # "server", "driver", or "stop": it was cut short by the user
    planned_at: float | None = None  # planned start, or previous answer's end + think time
    num_hidden_tokens: int | None = None  # thought that the server counted and did not stream
    counted_by: str | None = None  # "usage", "token_ids", or "chunks", of one or more tokens each
    num_shared_chunks: int | None = None  # chunks with tokens that came together with another
    num_merged_chunks: int | None = None  # of those, such that came in packets of their own
    answered_model: str | None = None  # as the answer names it, which may be another than was asked
    system_fingerprint: str | None = None  # likewise
    answered_server: str | None = None  # the software that the answer's head names
    server: int | None = None  # its place in `base_urls`, where there are several


TURN_SCHEMA = pa.schema(
    [
        pa.field("conversation_id", pa.string(), nullable=False),
        pa.field("turn", pa.int32(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("user_class", pa.string(), nullable=False),
        pa.field("priority", pa.int32()),
        pa.field("planned_output_tokens", pa.int32(), nullable=False),
        pa.field("scheduled_at", pa.float64(), nullable=False),
        pa.field("sent_at", pa.float64()),
        pa.field("token_at", pa.list_(pa.float64()), nullable=False),
        pa.field("tokens_per_chunk", pa.list_(pa.int32()), nullable=False),
        pa.field("done_at", pa.float64()),
        pa.field("num_prompt_tokens", pa.int32()),
        pa.field("num_cached_tokens", pa.int32()),
        pa.field("num_output_tokens", pa.int32()),
        pa.field("num_coalesced", pa.int32(), nullable=False),
        pa.field("time_source", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string()),
        pa.field("error", pa.string()),
        pa.field("error_source", pa.string()),
        pa.field("planned_at", pa.float64()),
        pa.field("num_hidden_tokens", pa.int32()),
        pa.field("counted_by", pa.string()),
        pa.field("num_shared_chunks", pa.int32()),
        pa.field("num_merged_chunks", pa.int32()),
        pa.field("answered_model", pa.string()),
        pa.field("system_fingerprint", pa.string()),
        pa.field("answered_server", pa.string()),
        pa.field("server", pa.int32()),
    ]
)
_COLUMNS = tuple(TURN_SCHEMA.names)
_OFTEN_THE_SAME = (
    "conversation_id",
    "user_id",
    "user_class",
    "time_source",
    "answered_model",
    "system_fingerprint",
    "answered_server",
)
_ORDER = [("scheduled_at", "ascending"), ("conversation_id", "ascending")]
_ROWS_PER_GROUP = 4096
STARTED_AT_KEY = b"started_at_monotonic_s"
TIME_SOURCE_KEY = b"time_source"


def turn_row(record: TurnRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _COLUMNS}


def shard_paths(directory: Path) -> list[Path]:
    """The logs that a run's workers append to; gone once they are merged into turns.parquet."""
    return sorted(directory.glob("turns-*.arrows"))


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file of a run. Raises InputError where it is damaged."""
    with _damage_named(path):
        return pq.read_table(path, columns=None if columns is None else list(columns))


def column_names(path: Path) -> list[str]:
    """Reads a Parquet file of a run. Raises RunDirectoryError where it is damaged."""
    with _damage_named(path):
        names: list[str] = pq.read_schema(path).names
        return names


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # it could not be opened at all
        raise RunDirectoryError(
            f"{path}: is damaged ({str(error).splitlines()[0]}); play the run again"
        ) from error


def read_shards(directory: Path) -> pa.Table:
    """Reads every flushed row of every worker, in order of `scheduled_at`; may be empty."""
    paths = shard_paths(directory)
    try:
        table = read_arrow_logs(paths)
    except ValueError:
        return TURN_SCHEMA.empty_table()
    return table.sort_by(_ORDER)


def time_source_of(table: pa.Table) -> str:
    """Returns `kernel`, `user` or `virtual` if all rows agree, else `mixed`; `none` if empty."""
    sources = sorted(set(table["time_source"].to_pylist()))
    if not sources:
        return "none"
    return sources[0] if len(sources) == 1 else "mixed"


def write_table(path: Path, table: pa.Table, *, started_at_monotonic_s: float | None) -> None:
    """turns.parquet, whole or not at all. Without a start (None) there are no rows either."""
    assert started_at_monotonic_s is not None or not table.num_rows, table.num_rows
    _write(path, [table], time_source_of(table), started_at_monotonic_s)


def finish_shard(shard: Path, path: Path, *, started_at_monotonic_s: float) -> None:
    """One log → turns.parquet, in order of `scheduled_at`. Of a log larger than the memory only
    the rows between the first and the last of a group are held."""
    table = mapped_arrow_log(shard)
    _write(path, _in_order(table), time_source_of(table), started_at_monotonic_s)
    shard.unlink()


def _in_order(table: pa.Table) -> Iterator[pa.Table]:
    """Rows lie in the order in which turns ended, which is about that in which they were sent."""
    order = pc.sort_indices(table, sort_keys=_ORDER).to_numpy()
    for first in range(0, len(order), _ROWS_PER_GROUP):
        rows = order[first : first + _ROWS_PER_GROUP]
        lowest, highest = int(rows.min()), int(rows.max())
        yield table.slice(lowest, highest + 1 - lowest).combine_chunks().take(rows - lowest)


def _write(
    path: Path, groups: Iterable[pa.Table], time_source: str, started_at_monotonic_s: float | None
) -> None:
    metadata = {TIME_SOURCE_KEY: time_source.encode()}
    if started_at_monotonic_s is not None:
        metadata[STARTED_AT_KEY] = repr(started_at_monotonic_s).encode()
    schema = TURN_SCHEMA.with_metadata(metadata)
    # Instants pack best with their bytes split.
    instants = ["planned_at", "scheduled_at", "sent_at", "done_at", "token_at.list.element"]
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(
        partial,
        schema,
        compression="zstd",
        use_dictionary=[*_OFTEN_THE_SAME],
        column_encoding=dict.fromkeys(instants, "BYTE_STREAM_SPLIT"),
    ) as writer:
        for group in groups:
            writer.write_table(_with_all_columns(group).cast(schema))
    partial.replace(path)


def _with_all_columns(table: pa.Table) -> pa.Table:
    """Rows that tell less, as those of older versions, get nulls for the rest."""
    for field in TURN_SCHEMA:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(_COLUMNS)


def read_turns(path: Path) -> list[TurnRecord]:
    """Returns the records of a turns.parquet, also of older versions, which tell less."""
    return [_record(row) for row in pq.read_table(path).to_pylist()]


def read_started_at(path: Path) -> float | None:
    """Returns the run's start in absolute CLOCK_MONOTONIC seconds; None if it never started."""
    started_at = pq.read_schema(path).metadata.get(STARTED_AT_KEY)
    return None if started_at is None else float(started_at)


def _record(row: Mapping[str, Any]) -> TurnRecord:
    lists = {name: tuple(row[name]) for name in ("token_at", "tokens_per_chunk")}
    return TurnRecord(**{**row, **lists})
