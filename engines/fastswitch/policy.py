"""Who goes first, and who may push whom off the device."""

from __future__ import annotations

from typing import Protocol

from engines.fastswitch.request import Request


class Policy(Protocol):
    def key(self, request: Request) -> tuple[float, ...]:
        """Sort key: the smallest goes first; the largest is preempted first."""
        ...

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        """May `newcomer`, which holds nothing, take the blocks of `holder`?"""
        ...


class FirstComeFirstServed:
    def key(self, request: Request) -> tuple[float, ...]:
        return (request.arrived_at,)

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return False


class ByPriority:
    """Strict priority; arrival breaks ties. Equals do not displace each other."""

    def key(self, request: Request) -> tuple[float, ...]:
        return (request.priority, request.arrived_at)

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return newcomer.priority < holder.priority


POLICIES: dict[str, Policy] = {"fcfs": FirstComeFirstServed(), "priority": ByPriority()}
