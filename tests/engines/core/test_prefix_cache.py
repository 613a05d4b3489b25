"""Blocks found by their tokens: what is told of them, and how often."""

from __future__ import annotations

from engines.core.block_pool import PagedAllocator
from engines.core.prefix_cache import PrefixCache, extend_digests


def digests_of(num_blocks: int) -> list[bytes]:
    digests: list[bytes] = []
    extend_digests(digests, range(4 * num_blocks), 4)
    return digests


def test_what_is_known_need_not_be_told_again() -> None:
    cache, digests = PrefixCache(PagedAllocator(4)), digests_of(3)
    blocks = cache.allocate("a", 3)
    assert cache.learn(blocks[:2], digests[:2]) == 2
    assert cache.learn(blocks[2:], digests[2:]) == 1
    assert cache.share(digests) == blocks


def test_a_block_that_holds_what_another_does_is_known_once_that_one_is_gone() -> None:
    cache, digests = PrefixCache(PagedAllocator(4)), digests_of(2)
    first, second = cache.allocate("a", 2), cache.allocate("b", 2)
    assert cache.learn(first, digests) == 2
    assert cache.learn(second, digests) == 0
    cache.free(first)
    other = cache.allocate("c", 2)  # the first one's content is gone
    assert cache.known(digests) == (0, 0)
    assert cache.learn(second, digests) == 2
    assert cache.known(digests) == (2, 0)
    cache.check_integrity([*second, *other])
