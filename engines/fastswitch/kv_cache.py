"""Who holds which blocks: every request's KV in the device pool, the host pool, or neither.

tokens   0 ........ num_computed ........ num_tokens
KV       [ there, in whole blocks ][ to come ]
RUNNING  device_blocks cover num_tokens; host_blocks are empty
SWAPPED  host_blocks cover num_computed; device_blocks are empty
WAITING  both are empty and num_computed is 0
"""

from __future__ import annotations

from collections.abc import Iterable

from engines.fastswitch.block_pool import ALLOCATORS, BlockAllocator
from engines.fastswitch.device import Direction
from engines.fastswitch.request import Phase, Request
from engines.fastswitch.settings import CoreSettings
from engines.fastswitch.swap import SyncSwapper


class KvCache:
    def __init__(self, core: CoreSettings, swapper: SyncSwapper) -> None:
        allocator = ALLOCATORS[core.mechanisms.allocator]
        self.device: BlockAllocator = allocator(core.num_device_blocks)
        self.host: BlockAllocator = allocator(core.num_host_blocks)
        self.swapper = swapper
        self._block_size = core.block_size

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self._block_size)

    def blocks_missing(self, request: Request) -> int:
        """Device blocks it still needs before all of its tokens can be computed."""
        return self.blocks_for(request.num_tokens) - len(request.device_blocks)

    def grow(self, request: Request) -> None:
        """Device blocks for all of its tokens; the caller has seen that they are free."""
        missing = self.blocks_missing(request)
        if missing:
            request.device_blocks += self.device.allocate(request.request_id, missing)

    def bring_in(self, request: Request) -> None:
        """WAITING or SWAPPED → RUNNING, with its KV moved from the host where it has any there."""
        self.grow(request)
        if request.phase is Phase.SWAPPED:
            sources = request.host_blocks
            self.swapper.move(Direction.SWAP_IN, sources, request.device_blocks[: len(sources)])
            self.free_host(request.request_id, sources)
            request.host_blocks = []
        request.phase = Phase.RUNNING

    def swap_out(self, request: Request) -> None:
        """RUNNING → SWAPPED; the caller has seen that the host has room for its computed blocks."""
        request.host_blocks = self.copy_out(request)
        self._free_device(request)
        request.phase = Phase.SWAPPED

    def copy_out(self, request: Request) -> list[int]:
        """Host blocks with a copy of all that it has computed; its device blocks stay its own."""
        num_blocks = self.blocks_for(request.num_computed)
        targets = self.host.allocate(request.request_id, num_blocks)
        self.swapper.move(Direction.SWAP_OUT, request.device_blocks[:num_blocks], targets)
        return targets

    def drop(self, request: Request) -> None:
        """Give all blocks back; what was computed has to be computed again (→ WAITING)."""
        self._free_device(request)
        self.free_host(request.request_id, request.host_blocks)
        request.host_blocks = []
        request.num_computed = 0
        request.phase = Phase.WAITING

    def free_host(self, owner: str, blocks: Iterable[int]) -> None:
        self.host.free(owner, blocks)

    def _free_device(self, request: Request) -> None:
        self.device.free(request.request_id, request.device_blocks)
        request.device_blocks = []
