"""What most policies have in common: a number for each request, the smallest first, arrival between
equals. A policy overrides what it does otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # policies need no more of the core than this shape, so they run in others too
    from engines.core.request import Request


class Ranked:
    """Implements `engines.core.policy.Policy` by `Request.rank`."""

    key: Callable[[Request], Any] = staticmethod(attrgetter("rank", "arrived_at", "serial"))

    def submitted(self, request: Request, now: float) -> None: ...

    def renew(self, live: Iterable[Request], now: float) -> bool:
        return False

    def served(
        self, decoded: Sequence[Request], prefilled: Sequence[tuple[Request, int]], now: float
    ) -> None: ...

    def ended(self, request: Request, now: float) -> None: ...

    def presses(self, newcomer: Request) -> bool:
        return True

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return self.outranks(newcomer, holder)

    def outranks(self, request: Request, other: Request) -> bool:
        return request.rank < other.rank

    def max_prefill_tokens(self) -> int | None:
        return None
