"""What each live turn was promised, and how far that was kept: first tokens, gaps, late ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from engines.terms import Slo

if TYPE_CHECKING:
    from engines.core.request import Request


@dataclass(slots=True, eq=False)
class Turn:
    """One live request. Instants on the engine's clock."""

    slo: Slo
    first_due_at: float
    last_token_at: float | None = None
    num_late: int = 0  # gaps above its TBT
    is_lost: bool = False  # its SLO can not be kept any more

    def token(self, at: float) -> None:
        """Takes in a token that came at `at`."""
        if self.last_token_at is None:
            self.is_lost |= at > self.first_due_at
        else:
            self.gap(at - self.last_token_at)
        self.last_token_at = at

    def gap(self, seconds: float) -> None:
        """Takes in a gap between two tokens."""
        self.num_late += seconds > self.slo.tbt_s
        self.is_lost |= self.slo.max_gap_s is not None and seconds > self.slo.max_gap_s

    def num_gaps_for_one_more(self) -> int:
        """Returns how many gaps the answer must have in the end, so that its percentile forgives
        one more late one."""
        share = 1.0 - self.slo.tbt_percentile
        # The small term keeps 1 / (1 − 0.99) from coming to 101.
        return ceil((self.num_late + 1) / share - 1e-6) if share > 0 else 1 << 62


class Promises:
    """The turns of one engine. While the same requests decode step after step, a step costs no more
    than a comparison."""

    def __init__(self, default: Slo) -> None:
        """Makes an empty book; `default` holds for requests that came without an SLO."""
        self._default = default
        self._turns: dict[Request, Turn] = {}
        self._decoded: Sequence[Request] = []
        self._decoding: list[Turn] = []  # of those, in any order
        self._decoded_at = 0.0
        self._least_tbt_s = 0.0  # among them

    def __getitem__(self, request: Request) -> Turn:
        return self._turns[request]

    def submitted(self, request: Request) -> Turn:
        slo = request.terms.slo or self._default
        turn = Turn(slo=slo, first_due_at=request.arrived_at + slo.ttft_s)
        self._turns[request] = turn
        return turn

    def ended(self, request: Request) -> None:
        del self._turns[request]

    def served(
        self, decoded: Sequence[Request], prefilled: Sequence[tuple[Request, int]], now: float
    ) -> None:
        """Takes in a step's tokens, as `Policy.served` tells of them."""
        if decoded is self._decoded:
            gap_s = now - self._decoded_at
            if gap_s > self._least_tbt_s:
                for turn in self._decoding:
                    turn.gap(gap_s)
        else:
            self.settle()
            self._decoded = decoded
            self._decoding = [self._turns[each] for each in decoded if each in self._turns]
            self._least_tbt_s = min((each.slo.tbt_s for each in self._decoding), default=0.0)
            for turn in self._decoding:
                turn.token(now)
        self._decoded_at = now
        for request, _ in prefilled:
            if request.num_uncomputed == 1 and request in self._turns:  # it had the last chunk
                self._turns[request].token(now)

    def settle(self) -> None:
        """Brings `last_token_at` of everybody up to date."""
        for turn in self._decoding:
            turn.last_token_at = self._decoded_at

    def tightest_s(self) -> float | None:
        """Returns the shortest TBT among those who decode and have not lost their SLO."""
        within = [turn.slo.tbt_s for turn in self._decoding if not turn.is_lost]
        return min(within, default=None)
