"""The reader's pace (Liu et al., "Andes: Defining and Enhancing Quality-of-Experience in LLM-Based
Text Streaming Services", arXiv 2404.16283): serve whose reader would miss it most, for the memory
that takes.

A reader expects the first token by the SLO's TTFT and reads on at one token per TBT. Tokens ahead
of that are a buffer. Over the next `horizon_s`, not to be served costs the reader the time after
which the buffer has run out, as a share of all the time he spends; per token of memory, that is
what a request's being served is worth. A newcomer displaces a holder who is worth less by more than
`switch_cost`, a share. In print, a knapsack is solved greedily by the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.core.policies.ranked import Ranked
from engines.core.step_costs import StepCosts
from engines.terms import Slo

if TYPE_CHECKING:
    from engines.core.request import Request


@dataclass(slots=True, eq=False)
class _Reader:
    slo: Slo
    began_at: float
    read_until: float  # when he will have read what has come; when the first token is due, before
    num_tokens: int = 0  # that have come


class QualityOfExperience(Ranked):
    def __init__(
        self,
        costs: StepCosts,
        *,
        default: Slo,
        horizon_s: float,
        switch_cost: float,
        renew_every: int,
    ) -> None:
        """Makes a policy; `default` holds for requests that came without an SLO."""
        self._costs = costs
        self._default = default
        self._horizon_s = horizon_s
        self._switch_cost = switch_cost
        self._renew_every = renew_every
        self._readers: dict[Request, _Reader] = {}
        self._num_steps = 0

    def submitted(self, request: Request, now: float) -> None:
        slo = request.terms.slo or self._default
        arrived_at = request.arrived_at
        reader = _Reader(slo=slo, began_at=arrived_at, read_until=arrived_at + slo.ttft_s)
        self._readers[request] = reader
        request.rank = self._rank(request, reader, now)

    def ended(self, request: Request, now: float) -> None:
        del self._readers[request]

    def renew(self, live: Iterable[Request], now: float) -> bool:
        self._num_steps += 1
        if self._num_steps % self._renew_every:
            return False
        for request in live:
            reader = self._readers[request]
            self._hand_over(request, reader, now)
            request.rank = self._rank(request, reader, now)
        return True

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        return -newcomer.rank > -holder.rank * (1.0 + self._switch_cost)

    def _hand_over(self, request: Request, reader: _Reader, now: float) -> None:
        """Gives the reader the tokens that came since the last look."""
        num_new = len(request.output_token_ids) - reader.num_tokens
        if num_new:
            came_at = now - num_new * self._costs.step_s
            start_at = came_at if reader.num_tokens == 0 else max(reader.read_until, came_at)
            reader.read_until = start_at + num_new * reader.slo.tbt_s
            reader.num_tokens += num_new

    def _rank(self, request: Request, reader: _Reader, now: float) -> float:
        """Returns the gain of being served, per token of memory; less than none first."""
        buffer_s = reader.read_until - now
        stalls_s = max(0.0, self._horizon_s - max(0.0, buffer_s))
        spent_s = max(0.0, now - reader.began_at) + self._horizon_s
        return -stalls_s / spent_s / request.num_tokens
