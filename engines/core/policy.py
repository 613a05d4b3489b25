"""What the engine asks a policy, and what it tells it.

A policy ranks requests and says who may displace whom. Feasibility (blocks, transfers, the batch)
stays with the scheduler. It is built anew for each engine (`engines/core/policies/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from engines.core.request import Request


class Policy(Protocol):
    @property
    def key(self) -> Callable[[Request], Any]:
        """Returns the sort key, different for any two: the smallest goes first, the largest is
        preempted first. It is an attrgetter, which needs no Python frame, of values that change in
        `submitted` and `renew` alone."""
        ...

    def submitted(self, request: Request, now: float) -> None:
        """Hears of a new request, before anybody asks for its key."""
        ...

    def renew(self, live: Iterable[Request], now: float) -> bool:
        """Called before each step: sets the ranks of all who are `live` anew, where it is time to,
        and returns whether it did."""
        ...

    def served(
        self, decoded: Sequence[Request], prefilled: Sequence[tuple[Request, int]], now: float
    ) -> None:
        """Hears what a step has computed, at its end: one token for each of `decoded` (the same
        list as in the last step where nobody came or went), so many prompt tokens for each of
        `prefilled`. Who has ended by it has been told of before."""
        ...

    def ended(self, request: Request, now: float) -> None:
        """Hears that a request has ended, well or not."""
        ...

    def presses(self, newcomer: Request) -> bool:
        """Returns whether `newcomer` would displace anybody at all now: asked once, before each
        holder is asked about."""
        ...

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        """Returns whether `newcomer`, which holds nothing, may take the blocks of `holder`."""
        ...

    def outranks(self, request: Request, other: Request) -> bool:
        """Returns whether `request` is more urgent than `other`; of equals neither is."""
        ...

    def max_prefill_tokens(self) -> int | None:
        """Returns how many prompt tokens the coming step may compute; None: as many as fit."""
        ...
