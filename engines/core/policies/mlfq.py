"""Skip-join multi-level feedback queues (Wu et al., "Fast Distributed Inference Serving for Large
Language Models", arXiv 2305.05920; FastServe, NSDI 2026): answers of unknown length, the short ones
first.

Level k has a quantum of `quantum_s` · 2^k seconds of service; who has used up his moves down one. A
request joins where its prompt's time fits, past the levels that it would only fall through. Who was
not served for `promote_after_s` goes back to the top.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.core.policies.ranked import Ranked
from engines.core.step_costs import StepCosts

if TYPE_CHECKING:
    from engines.core.request import Request


@dataclass(slots=True, eq=False)
class _Place:
    level: int
    served_at: float  # when it was last seen to have got on
    used_s: float = 0.0  # of its level's quantum
    num_computed: int = 0  # then
    num_outputs: int = 0


class FeedbackQueues(Ranked):
    def __init__(
        self,
        costs: StepCosts,
        *,
        quantum_s: float,
        num_levels: int,
        promote_after_s: float,
        renew_every: int,
    ) -> None:
        """Makes empty queues."""
        self._costs = costs
        self._quanta_s = [quantum_s * 2.0**level for level in range(num_levels)]
        self._promote_after_s = promote_after_s
        self._renew_every = renew_every
        self._places: dict[Request, _Place] = {}
        self._num_steps = 0

    def submitted(self, request: Request, now: float) -> None:
        prompt_s = request.num_uncomputed * self._costs.prefill_token_s + self._costs.step_s
        level = next(
            (i for i, each in enumerate(self._quanta_s) if prompt_s <= each),
            len(self._quanta_s) - 1,
        )
        place = _Place(level=level, served_at=now, num_computed=request.num_computed)
        self._places[request] = place
        request.rank = float(level)

    def ended(self, request: Request, now: float) -> None:
        del self._places[request]

    def renew(self, live: Iterable[Request], now: float) -> bool:
        self._num_steps += 1
        if self._num_steps % self._renew_every:
            return False
        for request in live:
            place = self._places[request]
            self._charge(request, place, now)
            if now - place.served_at >= self._promote_after_s:
                place.level, place.used_s, place.served_at = 0, 0.0, now
            request.rank = float(place.level)
        return True

    def _charge(self, request: Request, place: _Place, now: float) -> None:
        """Takes the request's service since the last look from its quantum."""
        num_outputs = len(request.output_token_ids)
        num_new_outputs = num_outputs - place.num_outputs
        num_new = max(0, request.num_computed - place.num_computed)
        place.num_outputs, place.num_computed = num_outputs, request.num_computed
        if not num_new:
            return
        costs = self._costs
        place.served_at = now
        place.used_s += num_new_outputs * costs.step_s
        place.used_s += max(0, num_new - num_new_outputs) * costs.prefill_token_s
        while place.used_s >= self._quanta_s[place.level] and place.level < len(self._quanta_s) - 1:
            place.used_s -= self._quanta_s[place.level]
            place.level += 1
