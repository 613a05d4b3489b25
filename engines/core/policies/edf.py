"""Earliest deadline first (Liu and Layland, JACM 1973), over the deadlines that an SLO sets: the
first token's, then each next token's, one TBT after the last.

Nothing is given up, so under overload those who are late already come before those who could still
be in time: the well-known weakness that `slo` answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from engines.core.policies.promises import Promises
from engines.core.policies.ranked import Ranked
from engines.terms import Slo

if TYPE_CHECKING:
    from engines.core.request import Request


class EarliestDeadlineFirst(Ranked):
    def __init__(self, *, default: Slo, renew_every: int) -> None:
        """Makes a policy; `default` holds for requests that came without an SLO."""
        self._promises = Promises(default)
        self._renew_every = renew_every
        self._num_steps = 0

    def submitted(self, request: Request, now: float) -> None:
        request.rank = self._promises.submitted(request).first_due_at

    def ended(self, request: Request, now: float) -> None:
        self._promises.ended(request)

    def served(
        self, decoded: Sequence[Request], prefilled: Sequence[tuple[Request, int]], now: float
    ) -> None:
        self._promises.served(decoded, prefilled, now)

    def renew(self, live: Iterable[Request], now: float) -> bool:
        self._num_steps += 1
        if self._num_steps % self._renew_every:
            return False
        self._promises.settle()
        for request in live:
            turn = self._promises[request]
            if turn.last_token_at is not None:
                request.rank = turn.last_token_at + turn.slo.tbt_s
        return True
