"""Who holds which blocks: every request's KV in the device pool, the host pool, both, or neither.

    tokens    0 ........ num_computed ........ num_tokens
    KV        [ there, in whole blocks ][ to come ]
    RUNNING   device_blocks cover num_tokens; a host copy may cover a first part of them
    ARRIVING  the same, but the KV is still on its way from the host
    SWAPPED   the host copy covers num_computed; device_blocks are empty
    WAITING   both are empty and num_computed is 0

A block is free, held by a request, held by a kept context, or draining: the source of a swap-out
that has not landed. Draining blocks belong to nobody and become free by waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from engines.core.allocators import ALLOCATORS
from engines.core.block_pool import BlockAllocator, GroupCounts
from engines.core.device import Direction
from engines.core.flight import Flight
from engines.core.prefix_cache import PrefixCache, extend_digests
from engines.core.request import HostCopy, Phase, Request
from engines.core.settings import CoreSettings
from engines.core.swap import Swapper


class KvCache:
    """Every request's blocks in both pools. `keeps_copies`: a host copy stays valid after a
    swap-in, so that the next swap-out moves only the increment."""

    def __init__(self, core: CoreSettings, swapper: Swapper, *, keeps_copies: bool) -> None:
        allocator = ALLOCATORS[core.mechanisms.allocator]
        self.device: BlockAllocator = allocator(core, core.num_device_blocks)
        self._prefixes: PrefixCache | None = None
        if core.mechanisms.reuse == "prefix":
            self.device = self._prefixes = PrefixCache(self.device)
        self.host: BlockAllocator = allocator(core, core.num_host_blocks)
        self.swapper = swapper
        self._counted = GroupCounts()
        self._keeps_copies = keeps_copies
        self._block_size = core.block_size

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self._block_size)

    def blocks_missing(self, request: Request) -> int:
        """Returns how many device blocks the request still needs before all of its tokens can be
        computed."""
        return -(-request.num_tokens // self._block_size) - len(request.device_blocks)

    def in_need(self, requests: Iterable[Request]) -> list[Request]:
        """Returns those whose blocks do not cover their tokens. It makes no calls, for all who run
        are asked."""
        size = self._block_size
        return [
            each
            for each in requests
            if len(each.device_blocks) * size
            < len(each.prompt_token_ids) + len(each.output_token_ids)
        ]

    def blocks_wanted(self, request: Request) -> int:
        """Returns the blocks missing, less those that a newcomer will share with who holds them
        already."""
        missing = self.blocks_missing(request)
        if self._prefixes is None or request.phase is not Phase.WAITING:
            return missing
        num_known, num_free = self._prefixes.known(self._shareable(request))
        return missing - num_known + num_free

    def num_findable_tokens(self, request: Request) -> int:
        """Returns how many of a waiting request's tokens lie in blocks known by their tokens."""
        if self._prefixes is None:
            return 0
        num_known, _ = self._prefixes.known(self._shareable(request))
        return num_known * self._block_size

    def freed_for(self, newcomer: Request) -> Callable[[list[int]], int]:
        """Returns a function that tells how many blocks there would be more for `newcomer` if a
        holder of such blocks went."""
        if self._prefixes is None:
            return len
        shares = newcomer.phase is Phase.WAITING
        return self._prefixes.freed_by(self._shareable(newcomer) if shares else [])

    def host_blocks_missing(self, request: Request) -> int:
        """Returns how many host blocks the request still needs before it can be swapped out."""
        held = len(request.host_copy.blocks) if request.host_copy else 0
        return self.blocks_for(request.num_computed) - held

    @property
    def num_reachable(self) -> int:
        """Returns how many device blocks are free, or will be when the swap-outs under way have
        landed."""
        return self.device.num_free + self.swapper.num_draining

    def grow(self, request: Request, missing: int) -> None:
        """Gives the request so many more device blocks; the caller has seen that they are free."""
        if missing > 0:
            request.device_blocks += self.device.allocate(request.request_id, missing)

    def bring_in(self, request: Request) -> Flight | None:
        """Lets a request in, WAITING → RUNNING or SWAPPED → ARRIVING, and returns the flight that
        brings its KV, None where none has to come."""
        if self._prefixes is not None and request.phase is Phase.WAITING:
            request.device_blocks = self._prefixes.share(self._shareable(request))
            request.num_known_blocks = len(request.device_blocks)
            request.num_computed = request.num_known_blocks * self._block_size
        self.grow(request, self.blocks_missing(request))
        copy = request.host_copy
        if copy is None:
            request.phase = Phase.RUNNING
            return None
        assert not copy.is_in_flight, f"{request.request_id}: its swap-out has not landed"
        request.phase = Phase.ARRIVING
        copy.flight = self.swapper.start(
            Direction.SWAP_IN,
            request,
            copy.blocks,
            request.device_blocks[: len(copy.blocks)],
            on_landed=partial(self._arrived, request),
        )
        return copy.flight

    @property
    def is_learning(self) -> bool:
        """Whether `learn` does anything."""
        return self._prefixes is not None

    def learn(self, request: Request, num_new_tokens: int) -> None:
        """Lets others find the request's computed blocks from now on (`reuse: prefix`)."""
        num_full, num_over = divmod(request.num_computed, self._block_size)
        if self._prefixes is not None and num_over < num_new_tokens:  # a block has become full
            self._extend_digests(request, num_full)
            first = request.num_known_blocks
            blocks = request.device_blocks[first:num_full]
            digests = request.block_digests[first:num_full]
            request.num_known_blocks += self._prefixes.learn(blocks, digests)

    def swap_out(self, request: Request) -> None:
        """Sends out what the host does not have yet, RUNNING → SWAPPED. The caller has seen that
        the host has room (`host_blocks_missing`)."""
        copy = request.host_copy
        if copy is None:
            copy = request.host_copy = HostCopy(owner=request.conversation_id or request.request_id)
        first = copy.num_tokens // self._block_size  # a block filled only in part is copied again
        stop = self.blocks_for(request.num_computed)
        copy.blocks += self.host.allocate(copy.owner, stop - len(copy.blocks))
        copy.num_tokens = request.num_computed
        leaving = request.device_blocks[first:stop]
        self.device.free(request.device_blocks[:first] + request.device_blocks[stop:])
        self.device.release(request.request_id)
        request.device_blocks = []
        request.num_known_blocks = 0
        request.phase = Phase.SWAPPED
        if leaving:
            copy.flight = self.swapper.start(
                Direction.SWAP_OUT,
                request,
                leaving,
                copy.blocks[first:stop],
                on_landed=partial(self.device.free, leaving),
                device_blocks=leaving,
            )
            if self._prefixes is not None:  # others may read these blocks too, at any time
                self.swapper.wait_in_conflict(copy.flight)

    def drop(self, request: Request) -> None:
        """Gives up what only the device has, RUNNING → SWAPPED or WAITING; it must be computed
        again."""
        self._free_device(request)
        copy = request.host_copy
        request.phase = Phase.WAITING if copy is None else Phase.SWAPPED
        request.num_findable_tokens = 0  # others take its blocks now
        request.num_computed = 0 if copy is None else copy.num_tokens

    def discard(self, request: Request) -> None:
        """Gives all of the request's blocks back, any phase → FINISHED."""
        if request.host_copy is not None:
            self.give_up(request.host_copy)
            request.host_copy = None
        self._free_device(request)
        request.phase = Phase.FINISHED

    def give_up(self, copy: HostCopy) -> None:
        """Frees a copy that nobody needs any more."""
        self.wait_for(copy)
        self.host.free(copy.blocks)
        self.host.release(copy.owner)
        copy.blocks = []
        copy.num_tokens = 0

    def wait_for(self, copy: HostCopy) -> None:
        """Waits until nothing is on its way to the copy or from it."""
        if copy.flight is not None:
            self.swapper.wait_in_conflict(copy.flight)

    def trim(self, copy: HostCopy, num_tokens: int) -> None:
        """Frees all blocks of the copy but those of its first `num_tokens`."""
        stop = self.blocks_for(num_tokens)
        self.host.free(copy.blocks[stop:])
        del copy.blocks[stop:]
        copy.num_tokens = num_tokens

    def contaminate(self, copy: HostCopy, num_blocks: int) -> None:
        """Takes blocks from a copy's end; what is before them stays valid."""
        num_blocks = min(num_blocks, len(copy.blocks))
        self.swapper.count_contaminated(num_blocks)
        rest = (len(copy.blocks) - num_blocks) * self._block_size
        self.trim(copy, min(rest, copy.num_tokens))

    def take_group_counts(self) -> GroupCounts:
        """Returns what happened to the groups of both pools since the last call."""
        before, self._counted = self._counted, self.device.counts + self.host.counts
        return self._counted - before

    def _shareable(self, request: Request) -> list[bytes]:
        """Returns digests of the blocks that the request could share; its last token is always
        computed."""
        num_full = (request.num_tokens - 1) // self._block_size
        self._extend_digests(request, num_full)
        return request.block_digests[:num_full]

    def _extend_digests(self, request: Request, num_blocks: int) -> None:
        if len(request.block_digests) < num_blocks:
            token_ids = request.tokens_between(0, num_blocks * self._block_size)
            extend_digests(request.block_digests, token_ids, self._block_size)

    def _arrived(self, request: Request) -> None:
        if request.phase is not Phase.ARRIVING:
            return  # given up on the way
        request.phase = Phase.RUNNING
        request.has_just_arrived = True
        if not self._keeps_copies and request.host_copy is not None:
            copy, request.host_copy = request.host_copy, None
            copy.flight = None
            self.give_up(copy)

    def _free_device(self, request: Request) -> None:
        self.device.free(request.device_blocks)
        self.device.release(request.request_id)
        request.device_blocks = []
        request.num_known_blocks = 0
