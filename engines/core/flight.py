"""A transfer of KV on its way between the pools, as the engine sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.core.device import Direction, Transfer
from engines.core.transfer_log import TransferRecord, Waited


@dataclass(slots=True, kw_only=True, eq=False)
class Flight:
    """A transfer under way, which owns its blocks until it has landed: nobody else may read or
    write them. `device_blocks` are those that belong to no request: the sources of a swap-out."""

    direction: Direction
    transfer: Transfer
    request_id: str  # whose KV
    conversation_id: str | None
    num_blocks: int
    num_copy_runs: int
    began_at: float
    dispatch_s: float
    on_landed: Callable[[TransferRecord], None]
    device_blocks: Sequence[int]
    has_landed: bool = False

    def record(self, *, landed_at: float, waited: Waited, waited_s: float) -> TransferRecord:
        """Returns its row in the log of transfers; only once it is done."""
        copied_at = self.began_at + self.transfer.duration_s
        return TransferRecord(
            direction=self.direction,
            request_id=self.request_id,
            conversation_id=self.conversation_id,
            began_at=self.began_at,
            copying_at=copied_at - self.transfer.copying_s,
            copied_at=copied_at,
            landed_at=landed_at,
            dispatch_s=self.dispatch_s,
            waited=waited,
            waited_s=waited_s,
            num_blocks=self.num_blocks,
            num_copy_runs=self.num_copy_runs,
            num_copies=self.transfer.stats.num_copies,
            num_bytes=self.transfer.stats.num_bytes,
        )
