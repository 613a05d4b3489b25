"""Strict priority, as a request's body or a priority trace says it; arrival breaks ties."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from engines.core.policies.ranked import Ranked

if TYPE_CHECKING:
    from engines.core.request import Request


class ByPriority(Ranked):
    """Equals do not displace each other. Levels change from outside: `priorities.py` follows a
    trace."""

    key = staticmethod(attrgetter("priority", "arrived_at", "serial"))

    def outranks(self, request: Request, other: Request) -> bool:
        return request.priority < other.priority
