"""What remains of a turn for the conversation's next one, and who pays when the host runs short."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from engines.fastswitch.kv_cache import KvCache
from engines.fastswitch.request import HostCopy, Phase, Request


class Reuse(Protocol):
    def keep(self, request: Request) -> None:
        """A turn ended well: keep of its KV what the next turn may use, wherever it is."""
        ...

    def claim(self, request: Request) -> None:
        """A turn arrives: give it what is left of its history (→ SWAPPED), or nothing."""
        ...

    def make_room_for(self, request: Request) -> bool:
        """Give up what can be spared until `request` can be swapped out; False if it can't."""
        ...

    def held_host_blocks(self) -> list[int]: ...


class NoReuse:
    """`reuse: none`: each turn computes its whole history again."""

    def __init__(self, kv: KvCache, live: Mapping[str, Request]) -> None:
        self._kv = kv

    def keep(self, request: Request) -> None: ...

    def claim(self, request: Request) -> None: ...

    def make_room_for(self, request: Request) -> bool:
        return self._kv.host.num_free >= self._kv.host_blocks_missing(request)

    def held_host_blocks(self) -> list[int]:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptContext:
    token_ids: list[int]  # whose KV lies, as far as it is valid, in …
    copy: HostCopy


class HostReuse:
    """`host_swap` and `host_copy`: contexts wait in host memory for their next turn.

    Under `host_swap` a copy moves: out at a turn's end, in at the next, gone from the host.
    Under `host_copy` (FastSwitch) it stays, so that only increments go out; then the copies of
    requests that are on the device are spare, and are the first to be contaminated when the host
    runs short. After them, in both, contexts nobody has claimed, the one unused for longest first,
    from their ends: the beginning of a history is of use without its end, not the reverse.
    """

    def __init__(self, kv: KvCache, live: Mapping[str, Request]) -> None:
        self._kv = kv
        self._live = live
        self._kept: OrderedDict[str, KeptContext] = OrderedDict()

    def keep(self, request: Request) -> None:
        if request.conversation_id is None:
            return
        self._forget(request.conversation_id)
        if request.phase is Phase.ARRIVING and request.host_copy is not None:
            self._kv.wait_for(request.host_copy)
        token_ids = request.tokens_between(0, request.num_computed)
        if request.phase is Phase.RUNNING and self.make_room_for(request):
            self._kv.swap_out(request)
        if request.host_copy is not None:
            kept = KeptContext(token_ids=token_ids, copy=request.host_copy)
            self._kept[request.conversation_id] = kept
            request.host_copy = None

    def claim(self, request: Request) -> None:
        kept = self._kept.pop(request.conversation_id or "", None)
        if kept is None:
            return
        # The last prompt token is always computed: its logits give the first output token.
        limit = min(len(request.prompt_token_ids) - 1, kept.copy.num_tokens)
        num_cached = common_prefix(kept.token_ids, request.prompt_token_ids[:limit])
        if num_cached == 0:
            self._kv.give_up(kept.copy)
            return
        if num_cached < kept.copy.num_tokens:
            self._kv.wait_for(kept.copy)  # before some of its blocks are freed
        self._kv.trim(kept.copy, num_cached)
        request.host_copy = kept.copy
        request.num_computed = request.num_cached_tokens = num_cached
        request.phase = Phase.SWAPPED

    def make_room_for(self, request: Request) -> bool:
        host, missing = self._kv.host, self._kv.host_blocks_missing(request)
        if host.num_free >= missing:
            return True
        spare = [copy for copy in self._spare_copies(request) if not copy.is_in_flight]
        if host.num_free + sum(len(copy.blocks) for copy in spare) < missing:
            return False
        for copy in spare:
            if host.num_free >= missing:
                break
            self._kv.contaminate(copy, missing - host.num_free)
        self._forget_the_empty()
        return True

    def held_host_blocks(self) -> list[int]:
        return [block for kept in self._kept.values() for block in kept.copy.blocks]

    def _spare_copies(self, request: Request) -> Iterable[HostCopy]:
        """Whose end may be taken for `request`, the cheapest first."""
        on_device = [each for each in self._live.values() if each.phase is Phase.RUNNING]
        for other in sorted(on_device, key=lambda each: -each.priority):
            if other is not request and other.host_copy is not None:
                yield other.host_copy
        for kept in self._kept.values():
            yield kept.copy

    def _forget_the_empty(self) -> None:
        for name in [name for name, kept in self._kept.items() if not kept.copy.blocks]:
            self._forget(name)
        for request in self._live.values():
            copy = request.host_copy
            if copy is not None and not copy.blocks and request.phase is Phase.RUNNING:
                self._kv.give_up(copy)
                request.host_copy = None

    def _forget(self, conversation_id: str) -> None:
        kept = self._kept.pop(conversation_id, None)
        if kept is not None:
            self._kv.give_up(kept.copy)


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many first tokens the two share."""
    shorter = min(len(left), len(right))
    if left[:shorter] == right[:shorter]:  # the usual case, at the speed of a memory compare
        return shorter
    return next(i for i in range(shorter) if left[i] != right[i])


REUSES: dict[str, type[NoReuse] | type[HostReuse]] = {
    "none": NoReuse,
    "prefix": NoReuse,  # lives on the device alone, see prefix_cache.py
    "host_swap": HostReuse,
    "host_copy": HostReuse,
}
