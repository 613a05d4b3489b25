"""Which blocks of one memory (device or host) are free.

An allocator hands out block ids to owners; what lies in the blocks it does not know. The paged one
is vLLM's: a stack of free ids, so that after a while a request's blocks lie scattered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol


class BlockAllocator(Protocol):
    num_blocks: int

    @property
    def num_free(self) -> int: ...

    @property
    def num_used(self) -> int: ...

    def allocate(self, owner: str, num_blocks: int) -> list[int]:
        """Blocks that continue the owner's sequence. The caller has seen that they are free."""
        ...

    def free(self, owner: str, blocks: Iterable[int]) -> None: ...

    def check_integrity(self, held: Iterable[int]) -> None:
        """Every block is free or among `held`, exactly once. Raises AssertionError with the sum."""
        ...


class PagedAllocator:
    """LIFO free list: the block freed last is handed out first. O(1) a block."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._free = list(range(num_blocks - 1, -1, -1))

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_used(self) -> int:
        return self.num_blocks - len(self._free)

    def allocate(self, owner: str, num_blocks: int) -> list[int]:
        assert num_blocks <= len(self._free), f"{owner}: {num_blocks} of {len(self._free)} free"
        if num_blocks == 0:
            return []
        taken = self._free[-num_blocks:][::-1]
        del self._free[-num_blocks:]
        return taken

    def free(self, owner: str, blocks: Iterable[int]) -> None:
        self._free.extend(blocks)

    def check_integrity(self, held: Iterable[int]) -> None:
        held = list(held)
        assert len(self._free) + len(held) == self.num_blocks, (
            f"free {len(self._free)} + held {len(held)} != total {self.num_blocks}"
        )
        twice = [block for block, n in Counter([*self._free, *held]).items() if n > 1]
        assert not twice, f"blocks owned twice: {sorted(twice)[:10]}"


ALLOCATORS: dict[str, type[PagedAllocator]] = {"paged": PagedAllocator}
