"""The recorded turns of one engine as columns: what metrics and figures compute on.

All repeats of the engine lie in one table, the repeat being a column. Instants that do not exist
are NaN. Gaps between tokens are one flat array; `gap_turn` says which turn each belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from suite.errors import RunDirectoryError
from suite.records.run_directory import SCHEMA_VERSION, Manifest
from suite.records.turn_records import TURN_SCHEMA, column_names, read_shards, read_table
from suite.statistics.arrays import Bools, Floats, Indices, Ints, Strings

COLUMNS = (
    "conversation_id",
    "turn",
    "user_id",
    "user_class",
    "scheduled_at",
    "sent_at",
    "done_at",
    "num_prompt_tokens",
    "num_cached_tokens",
    "num_output_tokens",
    "planned_output_tokens",
    "token_at",
    "tokens_per_chunk",
    "error",
)
ERROR_SOURCE = "error_source"  # not in older files, where nothing was told apart
ANSWERER = ("answered_model", "system_fingerprint", "answered_server")  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTable:
    """The turns as arrays of shape [num_turns], one row a recorded turn; the last five are flat."""

    repeat: Ints  # from 1
    conversation_id: Strings
    conversation: Indices  # 0, 1, … in order of the ids; the same in all repeats
    turn: Ints
    user_id: Strings
    user_class: Strings
    scheduled_at: Floats
    sent_at: Floats
    done_at: Floats
    num_prompt_tokens: Floats  # NaN where the server did not count
    num_cached_tokens: Floats  # of those, what it found in its cache; NaN where it does not tell
    num_output_tokens: Floats  # as counted by the server, else the tokens received
    planned_output_tokens: Ints
    error: Strings  # "" = the turn succeeded
    answered_model: Strings  # "" where the answer does not name it, as the next two
    system_fingerprint: Strings
    answered_server: Strings
    first_token_at: Floats
    last_token_at: Floats
    num_chunks: Ints
    token_at: Floats  # [num_chunks in all], turn after turn
    tokens_per_chunk: Indices  # as token_at
    token_turn: Indices  # row that each chunk belongs to
    gaps: Floats  # between neighbouring chunks of one turn
    gap_turn: Indices

    @property
    def has_failed(self) -> Bools:
        failed: Bools = self.error != ""
        return failed

    @property
    def first_chunk(self) -> Ints:
        """[num_turns + 1]: row i has the chunks first_chunk[i] … first_chunk[i + 1] − 1."""
        return np.concatenate([[0], np.cumsum(self.num_chunks)])

    @property
    def num_gaps(self) -> Ints:
        """The number of gaps between chunks of each turn, [num_turns]."""
        return np.maximum(self.num_chunks - 1, 0)

    def gaps_of(self, rows: Ints) -> Ints:
        """Returns the places in `gaps` of the gaps of these rows, row after row."""
        num = self.num_gaps
        first, mine = (np.cumsum(num) - num)[rows], num[rows]
        before = np.cumsum(mine) - mine
        where: Ints = np.repeat(first - before, mine) + np.arange(int(mine.sum()))
        return where

    def __len__(self) -> int:
        return len(self.turn)

    def where(self, chosen: Bools) -> TurnTable:
        """Returns the chosen rows, renumbered."""
        if chosen.all():
            return self
        row_of = (np.cumsum(chosen) - 1).astype(np.int32)
        chunks, gaps = chosen[self.token_turn], chosen[self.gap_turn]
        flat: dict[str, Any] = {
            "token_at": self.token_at[chunks],
            "tokens_per_chunk": self.tokens_per_chunk[chunks],
            "token_turn": row_of[self.token_turn[chunks]],
            "gaps": self.gaps[gaps],
            "gap_turn": row_of[self.gap_turn[gaps]],
        }
        per_turn: dict[str, Any] = {
            field.name: getattr(self, field.name)[chosen]
            for field in fields(self)
            if field.name not in flat
        }
        return TurnTable(**per_turn, **flat)


def read_turns(trials: Sequence[tuple[int, Path]]) -> TurnTable:
    """Returns the turns of (repeat, trial directory) pairs; an empty directory adds no rows, nor
    does a turn that was cut short by the user."""
    tables = [_trial(directory) for _, directory in trials]
    empty = TURN_SCHEMA.empty_table().select([*COLUMNS, *ANSWERER])
    repeats = np.repeat([repeat for repeat, _ in trials], [len(table) for table in tables])
    found = _from_columns(pa.concat_tables([empty, *tables]), repeats.astype(np.int64))
    del tables
    pa.default_memory_pool().release_unused()  # what was decoded is as large as what is kept
    return found


def _trial(directory: Path) -> pa.Table:
    """Returns the rows of turns.parquet or, where a kill left none, what the workers had
    flushed."""
    finished = directory / "turns.parquet"
    if finished.exists():
        names = column_names(finished)
        _check_columns(finished, names)
        wanted = [*COLUMNS, *(name for name in (ERROR_SOURCE, *ANSWERER) if name in names)]
        return _without_cut(read_table(finished, wanted))
    table = read_shards(directory)
    _check_columns(directory, table.column_names)
    return _without_cut(table)


def _without_cut(table: pa.Table) -> pa.Table:
    """Turns that were under way when the run was stopped say nothing of the engine."""
    if ERROR_SOURCE in table.column_names:
        is_cut = pc.equal(table[ERROR_SOURCE], "stop").fill_null(False)
        if pc.any(is_cut).as_py():
            table = table.filter(pc.invert(is_cut))
    for name in ANSWERER:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
    return table.select([*COLUMNS, *ANSWERER])


def _check_columns(path: Path, names: Sequence[str]) -> None:
    """Refuses a file of another version of fsbench, which lacks columns. Raises
    RunDirectoryError."""
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise RunDirectoryError(
            f"{path}: has no column {', '.join(missing)}; it was recorded with {_schema_of(path)}, "
            f"this fsbench reads {SCHEMA_VERSION}: measure it with that version, or run it again"
        )


def _schema_of(path: Path) -> str:
    """Returns the schema's name in the run that a trial's file lies in."""
    for folder in path.parents:
        if (folder / "manifest.json").exists():
            return f"schema {Manifest.read(folder).schema_version}"
    return "an unknown schema"


def _from_columns(table: pa.Table, repeat: Ints) -> TurnTable:
    token_at, starts = _flat(table, "token_at", np.float64)
    tokens_per_chunk, _ = _flat(table, "tokens_per_chunk", np.int32)
    num_chunks = np.diff(starts)
    rows = np.arange(len(num_chunks), dtype=np.int32)
    token_turn = np.repeat(rows, num_chunks)
    num_received = np.bincount(token_turn, weights=tokens_per_chunk, minlength=len(num_chunks))
    num_output = _floats(table, "num_output_tokens")
    is_gap = np.ones(len(token_at), dtype=bool)  # the chunk and the one before it in its turn
    is_gap[starts[:-1][num_chunks > 0]] = False
    gaps = np.diff(token_at, prepend=0.0)[is_gap]
    conversation_id = _strings(table, "conversation_id")
    return TurnTable(
        repeat=repeat,
        conversation_id=conversation_id,
        conversation=np.unique(conversation_id, return_inverse=True)[1].astype(np.int32),
        turn=table["turn"].to_numpy().astype(np.int64),
        user_id=_strings(table, "user_id"),
        user_class=_strings(table, "user_class"),
        scheduled_at=_floats(table, "scheduled_at"),
        sent_at=_floats(table, "sent_at"),
        done_at=_floats(table, "done_at"),
        num_prompt_tokens=_floats(table, "num_prompt_tokens"),
        num_cached_tokens=_floats(table, "num_cached_tokens"),
        num_output_tokens=np.where(np.isnan(num_output), num_received, num_output),
        planned_output_tokens=table["planned_output_tokens"].to_numpy().astype(np.int64),
        error=_strings(table, "error", fill=""),
        answered_model=_strings(table, "answered_model", fill=""),
        system_fingerprint=_strings(table, "system_fingerprint", fill=""),
        answered_server=_strings(table, "answered_server", fill=""),
        first_token_at=_at_ends(token_at, starts[:-1], num_chunks),
        last_token_at=_at_ends(token_at, starts[1:] - 1, num_chunks),
        num_chunks=num_chunks,
        token_at=token_at,
        tokens_per_chunk=tokens_per_chunk,
        token_turn=token_turn,
        gaps=gaps,
        gap_turn=np.repeat(rows, np.maximum(num_chunks - 1, 0)),
    )


def _strings(table: pa.Table, name: str, *, fill: str | None = None) -> Strings:
    column = table[name].cast(pa.string())
    strings: Strings = (column if fill is None else column.fill_null(fill)).to_numpy()
    return strings


def _floats(table: pa.Table, name: str) -> Floats:
    """Returns the column with nulls as NaN."""
    column = table[name].cast(pa.float64())
    floats: Floats = column.fill_null(float("nan")).to_numpy()
    return floats


def _flat(table: pa.Table, name: str, dtype: type) -> tuple[Any, Ints]:
    """Returns a list column as (values, starts): row i is values[starts[i]:starts[i + 1]]."""
    lengths = pc.list_value_length(table[name]).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return pc.list_flatten(table[name]).to_numpy().astype(dtype, copy=False), starts


def _at_ends(values: Floats, index: Ints, num_chunks: Ints) -> Floats:
    """Returns values[index] where the turn has any chunk, else NaN."""
    found = np.full(len(num_chunks), np.nan)
    has_any = num_chunks > 0
    found[has_any] = values[index[has_any]]
    return found
