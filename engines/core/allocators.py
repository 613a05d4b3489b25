"""The allocators by the name a workload file uses."""

from __future__ import annotations

from collections.abc import Callable

from engines.core.block_groups import VICTIM_RULES, BlockGroupAllocator
from engines.core.block_pool import BlockAllocator, PagedAllocator, SortedAllocator
from engines.core.settings import CoreSettings


def _block_groups(core: CoreSettings, num_blocks: int) -> BlockAllocator:
    return BlockGroupAllocator(
        num_blocks,
        group_blocks=max(1, core.group_tokens // core.block_size),
        victim_rule=VICTIM_RULES[core.group_victim],
    )


ALLOCATORS: dict[str, Callable[[CoreSettings, int], BlockAllocator]] = {
    "paged": lambda _, num_blocks: PagedAllocator(num_blocks),
    "sorted": lambda _, num_blocks: SortedAllocator(num_blocks),
    "block_group": _block_groups,
}
