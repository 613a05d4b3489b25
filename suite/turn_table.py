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
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from suite.records import TURN_SCHEMA, read_shards

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.object_]

COLUMNS = (
    "conversation_id",
    "turn",
    "user_id",
    "user_class",
    "scheduled_at",
    "sent_at",
    "done_at",
    "num_prompt_tokens",
    "num_output_tokens",
    "token_at",
    "tokens_per_chunk",
    "error",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTable:
    """One row a recorded turn; every array but the last five has shape [num_turns]."""

    repeat: Ints  # from 1
    conversation_id: Strings
    turn: Ints
    user_id: Strings
    user_class: Strings
    scheduled_at: Floats
    sent_at: Floats
    done_at: Floats
    num_prompt_tokens: Floats  # NaN where the server did not count
    num_output_tokens: Floats  # as counted by the server, else the tokens received
    error: Strings  # "" = the turn succeeded
    first_token_at: Floats
    last_token_at: Floats
    num_chunks: Ints
    token_at: Floats  # [num_chunks in all], turn after turn
    tokens_per_chunk: Floats  # as token_at
    token_turn: Ints  # row that each chunk belongs to
    gaps: Floats  # between neighbouring chunks of one turn
    gap_turn: Ints

    @property
    def has_failed(self) -> Bools:
        failed: Bools = self.error != ""
        return failed

    def __len__(self) -> int:
        return len(self.turn)

    def where(self, chosen: Bools) -> TurnTable:
        """The chosen rows, renumbered."""
        row_of = np.cumsum(chosen) - 1
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


def read_turns(parts: Sequence[tuple[int, Path]]) -> TurnTable:
    """(repeat, part directory) pairs; a directory that recorded nothing adds no rows."""
    tables = [_part(directory) for _, directory in parts]
    empty = TURN_SCHEMA.empty_table().select(list(COLUMNS))
    repeats = np.repeat([repeat for repeat, _ in parts], [len(table) for table in tables])
    return _from_columns(pa.concat_tables([empty, *tables]), repeats.astype(np.int64))


def _part(directory: Path) -> pa.Table:
    """turns.parquet; where a kill left none, the rows that its workers' logs had flushed."""
    finished = directory / "turns.parquet"
    if finished.exists():
        return pq.read_table(finished, columns=list(COLUMNS))
    return read_shards(directory).select(list(COLUMNS))


def _from_columns(table: pa.Table, repeat: Ints) -> TurnTable:
    token_at, starts = _flat(table, "token_at")
    tokens_per_chunk, _ = _flat(table, "tokens_per_chunk")
    num_chunks = np.diff(starts)
    token_turn = np.repeat(np.arange(len(num_chunks)), num_chunks)
    num_received = np.bincount(token_turn, weights=tokens_per_chunk, minlength=len(num_chunks))
    num_output = _floats(table, "num_output_tokens")
    is_same_turn = token_turn[1:] == token_turn[:-1]
    return TurnTable(
        repeat=repeat,
        conversation_id=_strings(table, "conversation_id"),
        turn=table["turn"].to_numpy().astype(np.int64),
        user_id=_strings(table, "user_id"),
        user_class=_strings(table, "user_class"),
        scheduled_at=_floats(table, "scheduled_at"),
        sent_at=_floats(table, "sent_at"),
        done_at=_floats(table, "done_at"),
        num_prompt_tokens=_floats(table, "num_prompt_tokens"),
        num_output_tokens=np.where(np.isnan(num_output), num_received, num_output),
        error=table["error"].fill_null("").to_numpy(zero_copy_only=False).astype(np.str_),
        first_token_at=_at_ends(token_at, starts[:-1], num_chunks),
        last_token_at=_at_ends(token_at, starts[1:] - 1, num_chunks),
        num_chunks=num_chunks,
        token_at=token_at,
        tokens_per_chunk=tokens_per_chunk,
        token_turn=token_turn,
        gaps=np.diff(token_at)[is_same_turn],
        gap_turn=token_turn[1:][is_same_turn],
    )


def _strings(table: pa.Table, name: str) -> Strings:
    strings: Strings = table[name].cast(pa.string()).to_numpy()
    return strings


def _floats(table: pa.Table, name: str) -> Floats:
    """Nulls become NaN."""
    column = table[name].cast(pa.float64())
    floats: Floats = column.fill_null(float("nan")).to_numpy()
    return floats


def _flat(table: pa.Table, name: str) -> tuple[Floats, Ints]:
    """A list column as (values, starts): row i is values[starts[i]:starts[i + 1]]."""
    lengths = pc.list_value_length(table[name]).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return pc.list_flatten(table[name]).to_numpy().astype(np.float64), starts


def _at_ends(values: Floats, index: Ints, num_chunks: Ints) -> Floats:
    """values[index] where the turn has any chunk, else NaN."""
    found = np.full(len(num_chunks), np.nan)
    has_any = num_chunks > 0
    found[has_any] = values[index[has_any]]
    return found
