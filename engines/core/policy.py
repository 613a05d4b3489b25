"""Who goes first, and who may push whom off the device."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Protocol

from engines.core.request import Request


class Policy(Protocol):
    @property
    def key(self) -> Callable[[Request], Any]:
        """Returns the sort key, different for any two: the smallest goes first, the largest is
        preempted first. It is an attrgetter, which needs no Python frame."""
        ...

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        """Returns whether `newcomer`, which holds nothing, may take the blocks of `holder`."""
        ...

    def outranks(self, request: Request, other: Request) -> bool:
        """Whether `request` is more urgent than `other`; of equals neither is."""
        ...


class FirstComeFirstServed:
    key = staticmethod(attrgetter("arrived_at", "serial"))

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return False

    def outranks(self, request: Request, other: Request) -> bool:
        return request.arrived_at < other.arrived_at


class ByPriority:
    """Strict priority; arrival breaks ties. Equals do not displace each other."""

    key = staticmethod(attrgetter("priority", "arrived_at", "serial"))

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return self.outranks(newcomer, holder)

    def outranks(self, request: Request, other: Request) -> bool:
        return request.priority < other.priority


POLICIES: dict[str, Policy] = {"fcfs": FirstComeFirstServed(), "priority": ByPriority()}
