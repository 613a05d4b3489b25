"""One row a transfer of KV between the pools. `transfers.parquet` of a run has these columns.

    began_at ─────▶ copying_at ─────▶ copied_at ─────▶ landed_at
    asked for       its turn came     all is there     the engine saw it: its blocks are free to use

On the engine's clock; a transfer is in its direction's queue until `copying_at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engines.core.device import Direction


class Waited(StrEnum):
    """Whether the engine stood idle until the transfer had landed."""

    NO = "no"
    BY_CHOICE = "by_choice"
    IN_CONFLICT = "in_conflict"  # somebody needed its blocks, or nothing else could run


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRecord:
    direction: Direction
    request_id: str  # whose KV; for a kept context, of the turn that left it
    conversation_id: str | None
    began_at: float
    copying_at: float
    copied_at: float
    landed_at: float
    dispatch_s: float  # the engine's own time for asking, from began_at on
    waited: Waited
    waited_s: float  # the engine stood idle for it, up to landed_at
    num_blocks: int
    num_copy_runs: int
    num_copies: int
    num_bytes: int
