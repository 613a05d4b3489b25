"""What remains of a turn for the conversation's next one."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from engines.fastswitch.kv_cache import KvCache
from engines.fastswitch.request import Phase, Request


class Reuse(Protocol):
    def keep(self, request: Request) -> None:
        """A turn ended well, its KV is still on the device: keep what the next turn may use."""
        ...

    def claim(self, request: Request) -> None:
        """A turn arrives: give it what is left of its history (→ SWAPPED), or nothing."""
        ...

    def make_room(self, num_host_blocks: int) -> bool:
        """Give up kept history until the host has so many free blocks; False if it can't."""
        ...

    def held_host_blocks(self) -> list[int]: ...


class NoReuse:
    """`reuse: none`: each turn computes its whole history again."""

    def __init__(self, kv: KvCache) -> None:
        self._kv = kv

    def keep(self, request: Request) -> None: ...

    def claim(self, request: Request) -> None: ...

    def make_room(self, num_host_blocks: int) -> bool:
        return self._kv.host.num_free >= num_host_blocks

    def held_host_blocks(self) -> list[int]:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptContext:
    token_ids: list[int]  # whose KV lies in …
    host_blocks: list[int]  # … these, in order


class HostSwapReuse:
    """`reuse: host_swap`: the whole context goes out at a turn's end and in at the next turn.

    Contexts nobody has claimed are given up oldest first when the host pool runs short.
    """

    def __init__(self, kv: KvCache) -> None:
        self._kv = kv
        self._kept: OrderedDict[str, KeptContext] = OrderedDict()

    def keep(self, request: Request) -> None:
        if request.conversation_id is None:
            return
        self._forget(request.conversation_id)
        if not self.make_room(self._kv.blocks_for(request.num_computed)):
            return
        self._kept[request.conversation_id] = KeptContext(
            token_ids=request.tokens_between(0, request.num_computed),
            host_blocks=self._kv.copy_out(request),
        )

    def claim(self, request: Request) -> None:
        if request.conversation_id is None:
            return
        kept = self._kept.pop(request.conversation_id, None)
        if kept is None:
            return
        # The last prompt token is always computed: its logits give the first output token.
        limit = len(request.prompt_token_ids) - 1
        num_cached = common_prefix(kept.token_ids, request.prompt_token_ids[:limit])
        num_blocks = self._kv.blocks_for(num_cached)
        self._kv.free_host(request.request_id, kept.host_blocks[num_blocks:])
        if num_cached:
            request.host_blocks = kept.host_blocks[:num_blocks]
            request.num_computed = request.num_cached_tokens = num_cached
            request.phase = Phase.SWAPPED

    def make_room(self, num_host_blocks: int) -> bool:
        kept_blocks = sum(len(kept.host_blocks) for kept in self._kept.values())
        if self._kv.host.num_free + kept_blocks < num_host_blocks:
            return False
        while self._kv.host.num_free < num_host_blocks:
            self._forget(next(iter(self._kept)))
        return True

    def held_host_blocks(self) -> list[int]:
        return [block for kept in self._kept.values() for block in kept.host_blocks]

    def _forget(self, conversation_id: str) -> None:
        kept = self._kept.pop(conversation_id, None)
        if kept is not None:
            self._kv.free_host(conversation_id, kept.host_blocks)


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many first tokens the two share."""
    shorter = min(len(left), len(right))
    if left[:shorter] == right[:shorter]:  # the usual case, at the speed of a memory compare
        return shorter
    return next(i for i in range(shorter) if left[i] != right[i])


REUSES: dict[str, type[NoReuse] | type[HostSwapReuse]] = {
    "none": NoReuse,
    "host_swap": HostSwapReuse,
}
