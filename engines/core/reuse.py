"""What remains of a turn for the conversation's next one, and who pays when the host runs short."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from engines.core.kv_cache import KvCache
from engines.core.request import HostCopy, Phase, Request
from engines.core.roster import Roster


class Reuse(Protocol):
    def keep(self, request: Request) -> None:
        """Keeps what the next turn may use of the KV of a turn that ended well, wherever it is."""
        ...

    def claim(self, request: Request) -> None:
        """Gives a turn that arrives what is left of its history (→ SWAPPED), or nothing."""
        ...

    def make_room_for(self, request: Request) -> bool:
        """Gives up what can be spared until `request` can be swapped out; returns False if it
        can't."""
        ...

    def held_host_blocks(self) -> list[int]: ...


class NoReuse:
    """`reuse: none`: each turn computes its whole history again."""

    def __init__(self, kv: KvCache, roster: Roster) -> None:
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
    requests that are on the device are spare: when the host runs short, those that the newcomer
    outranks are the first to be contaminated, the least urgent one's before all others. After them,
    in both, contexts nobody has claimed, the one unused for longest first, from their ends: the
    beginning of a history is of use without its end, not the reverse.
    """

    def __init__(self, kv: KvCache, roster: Roster) -> None:
        self._kv = kv
        self._roster = roster
        self._policy = roster.policy
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
        num_short = missing - host.num_free
        spare: list[HostCopy] = []  # no more of them than it takes: thousands may be idle
        num_spare = 0
        copies = self._spare_copies(request)
        while num_spare < num_short:
            copy = next(copies, None)
            if copy is None:
                return False
            if not copy.is_in_flight:
                spare.append(copy)
                num_spare += len(copy.blocks)
        for copy in spare:
            self._kv.contaminate(copy, missing - host.num_free)
            if not copy.blocks:
                self._let_go(copy)
        return True

    def held_host_blocks(self) -> list[int]:
        return [block for kept in self._kept.values() for block in kept.copy.blocks]

    def _spare_copies(self, request: Request) -> Iterator[HostCopy]:
        """Yields the copies whose end may be taken for `request`, the cheapest first."""
        copied = [each for each in self._roster.holders() if each.host_copy is not None]
        for other in sorted(copied, key=self._policy.key, reverse=True):
            if other.host_copy is not None and self._policy.outranks(request, other):
                yield other.host_copy
        for kept in self._kept.values():
            yield kept.copy

    def _let_go(self, copy: HostCopy) -> None:
        """Forgets a copy that has no blocks left."""
        kept = self._kept.get(copy.owner)
        if kept is not None and kept.copy is copy:
            self._forget(copy.owner)
            return
        self._kv.give_up(copy)
        for request in self._roster.holders():
            if request.host_copy is copy:
                request.host_copy = None

    def _forget(self, conversation_id: str) -> None:
        kept = self._kept.pop(conversation_id, None)
        if kept is not None:
            self._kv.give_up(kept.copy)


def common_prefix(left: list[int], right: list[int]) -> int:
    """Returns how many first tokens the two share."""
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
