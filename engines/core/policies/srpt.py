"""Shortest remaining processing time first (Schrage, 1968): an oracle.

It takes `max_tokens` for the answer's length, which a plan's requests keep to and real ones do not:
a bound to hold others against, of waits and not of SLOs, and no policy to run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from engines.core.policies.ranked import Ranked
from engines.core.step_costs import StepCosts

if TYPE_CHECKING:
    from engines.core.request import Request


class ShortestRemainingTime(Ranked):
    def __init__(self, costs: StepCosts, *, renew_every: int) -> None:
        self._costs = costs
        self._renew_every = renew_every
        self._num_steps = 0

    def submitted(self, request: Request, now: float) -> None:
        request.rank = self._remaining_s(request)

    def renew(self, live: Iterable[Request], now: float) -> bool:
        self._num_steps += 1
        if self._num_steps % self._renew_every:
            return False
        for request in live:
            request.rank = self._remaining_s(request)
        return True

    def _remaining_s(self, request: Request) -> float:
        num_outputs = request.sampling.max_tokens - len(request.output_token_ids)
        costs = self._costs
        return request.num_uncomputed * costs.prefill_token_s + num_outputs * costs.step_s
