"""Virtual token counters: whoever has had least service goes first (Sheng et al., "Fairness in
Serving Large Language Models", OSDI 2024, arXiv 2401.00588).

Each user has a counter of weighted tokens. Who comes back from idleness is lifted to the least
counter of those who are there: idleness is not saved up. In print, VTC chooses among those who wait
and preempts nobody; here a newcomer displaces a holder whose user is ahead by more than `quantum`,
so that long answers do not hold back who is behind. Counters move every few steps.

Two users who both always wait differ by no more than their requests' prompts, the quantum and what
is served between two looks (tests/engines/core/policies/test_vtc.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from engines.core.policies.ranked import Ranked
from engines.core.policies.service import ServiceMeter, user_of

if TYPE_CHECKING:
    from engines.core.request import Request


class VirtualTokenCounters(Ranked):
    def __init__(self, meter: ServiceMeter, *, quantum: float, renew_every: int) -> None:
        """Makes a policy without counters; `quantum` is in weighted tokens."""
        self.counters: dict[str, float] = {}
        self._meter = meter
        self._quantum = quantum
        self._renew_every = renew_every
        self._num_live: dict[str, int] = {}  # requests of users who have any
        self._user: dict[Request, str] = {}
        self._last_gone: str | None = None
        self._num_steps = 0

    def submitted(self, request: Request, now: float) -> None:
        user = self._user[request] = user_of(request)
        if user not in self._num_live:
            self.counters[user] = max(self.counters.get(user, 0.0), self._floor())
            self._num_live[user] = 0
        self._num_live[user] += 1
        request.rank = self.counters[user]

    def ended(self, request: Request, now: float) -> None:
        user = self._user.pop(request)
        self.counters[user] += self._meter.take(request)
        self._meter.forget(request)
        self._num_live[user] -= 1
        if not self._num_live[user]:
            del self._num_live[user]
            self._last_gone = user

    def renew(self, live: Iterable[Request], now: float) -> bool:
        self._num_steps += 1
        if self._num_steps % self._renew_every:
            return False
        counters, user = self.counters, self._user
        self._meter.charge(live, user, counters)
        for request, name in user.items():
            request.rank = counters[name]
        return True

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return newcomer.rank + self._quantum < holder.rank

    def _floor(self) -> float:
        """Returns the least counter of those who are there, else that of who left last."""
        if self._num_live:
            return min(self.counters[user] for user in self._num_live)
        return 0.0 if self._last_gone is None else self.counters[self._last_gone]
