"""`reuse: prefix`: device blocks found again by the tokens they hold, as vLLM V1 does it.

A full block is known by the digest of its tokens and of all blocks before it. A block that nobody
holds keeps its content until it is handed out again, the one given back first goes first; a request
whose first tokens are known shares the blocks, by count of holders.

    free, unknown ──allocate──▶ held ──free──▶ cached (known, nobody's) ──allocate──▶ held …
                                  ▲───────────────share─────────────┘

It stands between the KV cache and an allocator and answers as one; cached blocks count as free.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from engines.core.block_pool import BlockAllocator

Digest = bytes  # of a full block and all before it


class PrefixCache:
    def __init__(self, allocator: BlockAllocator) -> None:
        self.num_blocks = allocator.num_blocks
        self.counts = allocator.counts
        self._allocator = allocator
        self._num_holders: dict[int, int] = {}  # of blocks that have any
        self._block_of: dict[Digest, int] = {}
        self._digest_of: dict[int, Digest] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()  # given back first = taken first

    @property
    def num_free(self) -> int:
        return self._allocator.num_free + len(self._cached)

    def allocate(self, owner: str, num_blocks: int) -> list[int]:
        """Returns new blocks; cached ones lose their content only when no others are free."""
        short = num_blocks - self._allocator.num_free
        if short > 0:
            self._allocator.free([self._forget_oldest() for _ in range(short)])
        blocks = self._allocator.allocate(owner, num_blocks)
        self._num_holders.update(dict.fromkeys(blocks, 1))
        return blocks

    def free(self, blocks: Iterable[int]) -> None:
        """Counts one holder less of each block, from the end on, so that a prefix outlives its
        rest."""
        unknown = []
        num_holders, digest_of, cached = self._num_holders, self._digest_of, self._cached
        for block in reversed(list(blocks)):
            num_left = num_holders[block] - 1
            if num_left:
                num_holders[block] = num_left
                continue
            del num_holders[block]
            if block in digest_of:
                cached[block] = None
            else:
                unknown.append(block)
        self._allocator.free(unknown)

    def release(self, owner: str) -> None:
        self._allocator.release(owner)

    def known(self, digests: Sequence[Digest]) -> tuple[int, int]:
        """Returns how many first blocks `share` would give, and how many of them count as free
        now."""
        blocks = list(self._known_blocks(digests))
        return len(blocks), sum(block in self._cached for block in blocks)

    def freed_by(self, digests: Sequence[Digest]) -> Callable[[Iterable[int]], int]:
        """Returns a function that tells, asked of one holder after the other, how many more blocks
        somebody who will share these could allocate if the holder of such blocks went. Blocks that
        all who go hold in common count with the last of them; blocks that will be shared anyway
        never count."""
        will_share = set(self._known_blocks(digests))
        gone: Counter[int] = Counter()

        def num_freed(blocks: Iterable[int]) -> int:
            blocks = list(blocks)
            gone.update(blocks)
            return sum(
                gone[block] == self._num_holders[block] and block not in will_share
                for block in blocks
            )

        return num_freed

    def share(self, digests: Sequence[Digest]) -> list[int]:
        """Takes hold of the blocks of the longest known beginning, and returns them."""
        shared = list(self._known_blocks(digests))
        for block in shared:
            self._cached.pop(block, None)
            self._num_holders[block] = self._num_holders.get(block, 0) + 1
        return shared

    def learn(self, blocks: Sequence[int], digests: Sequence[Digest]) -> int:
        """Remembers that block i holds, computed, what digest i stands for. Returns how many first
        ones are known now and will be for as long as they are held: none of them need be told
        again."""
        num_known = 0
        for i, (block, digest) in enumerate(zip(blocks, digests, strict=True)):
            if block not in self._digest_of:
                if digest in self._block_of:
                    continue  # another block holds the same; this one's turn comes if that goes
                self._block_of[digest] = block
                self._digest_of[block] = digest
            if num_known == i:
                num_known = i + 1
        return num_known

    def check_integrity(self, held: Iterable[int]) -> None:
        """Checks that every block is free, cached or held, once, and that holders are counted
        truly."""
        holders = dict(Counter(held))
        assert holders == self._num_holders, f"{holders} hold, counted {self._num_holders}"
        self._allocator.check_integrity([*holders, *self._cached])
        assert {self._block_of[digest]: digest for digest in self._block_of} == self._digest_of
        assert all(block in self._digest_of for block in self._cached), "an unknown block is cached"

    def _known_blocks(self, digests: Sequence[Digest]) -> Iterator[int]:
        for digest in digests:
            block = self._block_of.get(digest)
            if block is None:
                return
            yield block

    def _forget_oldest(self) -> int:
        block, _ = self._cached.popitem(last=False)
        del self._block_of[self._digest_of.pop(block)]
        return block


def extend_digests(digests: list[Digest], token_ids: Sequence[int], block_size: int) -> None:
    """Appends the digests that are missing: digest i stands for the tokens of blocks 0 … i, all
    full."""
    for start in range(len(digests) * block_size, len(token_ids) - block_size + 1, block_size):
        content = array("q", token_ids[start : start + block_size]).tobytes()
        before = digests[-1] if digests else b""
        digests.append(hashlib.blake2b(before + content, digest_size=16).digest())
