"""First come, first served: nobody displaces anybody."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from engines.core.policies.ranked import Ranked

if TYPE_CHECKING:
    from engines.core.request import Request


class FirstComeFirstServed(Ranked):
    key = staticmethod(attrgetter("arrived_at", "serial"))

    def presses(self, newcomer: Request) -> bool:
        return False

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return False

    def outranks(self, request: Request, other: Request) -> bool:
        return request.arrived_at < other.arrived_at
