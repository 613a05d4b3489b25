"""Deficit longest prefix match (Cao et al., "Locality-aware Fair Scheduling in LLM Serving",
arXiv 2501.14312): whose history is at hand goes first, among users who have not used up their turn.

Each user has a deficit counter, that service is taken from; a prompt's tokens count only where they
had to be computed. Users above zero go first, the longest known beginning before all others. When
nobody who waits is above zero any more, everybody who has requests gets `quantum` more, until
somebody is. A newcomer of a user above zero displaces holders of users who have spent more than
theirs; in print, nobody is displaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from engines.core.policies.ranked import Ranked
from engines.core.policies.service import ServiceMeter, user_of

if TYPE_CHECKING:
    from engines.core.request import Request

SPENT = 1.0  # rank of those whose user is at zero or below; the others have 0, less their locality


class DeficitLongestPrefixMatch(Ranked):
    def __init__(self, meter: ServiceMeter, *, quantum: float, renew_every: int) -> None:
        """Makes a policy; `meter` leaves out what was found, `quantum` is in weighted tokens."""
        self.deficits: dict[str, float] = {}  # of users who have requests
        self._meter = meter
        self._quantum = quantum
        self._renew_every = renew_every
        self._num_live: dict[str, int] = {}
        self._user: dict[Request, str] = {}
        self._num_steps = 0

    def submitted(self, request: Request, now: float) -> None:
        user = self._user[request] = user_of(request)
        self._num_live[user] = self._num_live.get(user, 0) + 1
        self.deficits.setdefault(user, self._quantum)
        request.rank = self._rank(request, self._spent(user))

    def ended(self, request: Request, now: float) -> None:
        user = self._user.pop(request)
        self.deficits[user] -= self._meter.take(request)
        self._meter.forget(request)
        self._num_live[user] -= 1
        if not self._num_live[user]:  # debts are not forgiven, credit is not saved up
            del self._num_live[user]
            self.deficits[user] = min(0.0, self.deficits[user])

    def renew(self, live: Iterable[Request], now: float) -> bool:
        self._num_steps += 1
        if self._num_steps % self._renew_every:
            return False
        users = self._user
        had = dict.fromkeys(self._num_live, 0.0)
        self._meter.charge(live, users, had)
        for user, service in had.items():
            self.deficits[user] -= service
        self._refill({name for each, name in users.items() if not each.device_blocks})
        spent = {user: self._spent(user) for user in self._num_live}
        for request, user in users.items():
            request.rank = self._rank(request, spent[user])
        return True

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return self.deficits[self._user[holder]] <= 0.0

    def presses(self, newcomer: Request) -> bool:
        return self.deficits[self._user[newcomer]] > 0.0

    def _refill(self, waiting: set[str]) -> None:
        if not waiting or any(self.deficits[user] > 0.0 for user in waiting):
            return
        most = max(self.deficits[user] for user in waiting)
        num_rounds = int(-most // self._quantum) + 1
        for user in self._num_live:
            self.deficits[user] += num_rounds * self._quantum

    def _spent(self, user: str) -> float:
        return SPENT if self.deficits[user] <= 0.0 else 0.0

    def _rank(self, request: Request, spent: float) -> float:
        return spent - locality(request)


def locality(request: Request) -> float:
    """Returns the share of the request's tokens whose KV exists, 0–1."""
    known = max(request.num_computed, request.num_findable_tokens)
    return known / (request.num_tokens + 1)
