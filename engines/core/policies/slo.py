"""This project's own: as many turns within their SLO as the device carries.

A turn outside is wanted at the last instant from which its SLO can still be kept: its deadline,
less what is left to move and to compute. Its deadline is the first token's, then the longest gap's
(or, where there is no such cap, `max_wait_s`). Only then does it displace somebody, and only if
that costs less than it saves: a holder's loss is the chance that its answer ends too short for its
percentile of gaps to forgive the pause, told from the lengths of answers that ended; both are
weighed by the memory they take, so big footprints yield among equals. Of the holders that may go,
the one goes first whose pause frees most memory for longest at the least chance of loss.

A turn whose SLO is lost already runs in what room is left. Nobody waits longer than `max_wait_s`
while others run: then it comes in past all whose time has not come, and stays for `quantum` tokens.

Nothing of it is clairvoyant: how long an answer will be, `max_tokens` included, is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.core.policies.answer_lengths import AnswerLengths
from engines.core.policies.promises import Promises, Turn
from engines.core.policies.ranked import Ranked
from engines.core.step_costs import StepCosts
from engines.terms import Slo

if TYPE_CHECKING:
    from engines.core.request import Request

# Ranks, smallest first. Instants count from the first request on, which keeps them below HOLDING.
OVERDUE = -1.0
HOLDING = 1e9  # decodes within its SLO; plus what its pause would be worth
LOST_HOLDING = 3e9  # plus its tokens
LOST_WAITING = 4e9  # plus the instant since when it waits

SURE = 0.1  # chances of loss well below this count alike
GAP_SHARE = 0.9  # of the tightest TBT that a step with prefill may take
MIN_PREFILL_TOKENS = 64
LOOK_S = 0.5  # how long a holder's rank is left as it is


@dataclass(slots=True, eq=False)
class _Stay:
    """What the policy knows of a live request, beside its promise."""

    turn: Turn
    served_at: float  # when it was last computed; its arrival before
    is_holding: bool = False  # when its rank was set
    look_at: float = 0.0  # before this its rank need not be set anew, unless it came or went
    latest_at: float = 0.0  # from when on its SLO is lost, while it waits outside
    chance_of_loss: float = 1.0  # by a pause now, while it holds the device
    keeps_until: int = 0  # so many output tokens, once it was overdue


class SloAware(Ranked):
    def __init__(
        self,
        costs: StepCosts,
        *,
        default: Slo,
        max_wait_s: float,
        quantum: int,
        margin_s: float,
        exchange: float,
        renew_every: int,
    ) -> None:
        """Makes a policy; engines/core/policies/settings.py says what each number is."""
        self._costs = costs
        self._max_wait_s = max_wait_s
        self._quantum = quantum
        self._margin_s = margin_s
        self._exchange = exchange
        self._renew_every = renew_every
        self._promises = Promises(default)
        self._lengths = AnswerLengths()
        self._stays: dict[Request, _Stay] = {}
        self._began_at: float | None = None
        self._num_steps = 0
        self._now = 0.0
        self._tightest_s: float | None = None
        self._num_outside = 0  # at the last look, and who has come since

    def submitted(self, request: Request, now: float) -> None:
        self._began_at = now if self._began_at is None else self._began_at
        stay = _Stay(turn=self._promises.submitted(request), served_at=now)
        self._stays[request] = stay
        self._num_outside += 1
        request.rank = self._rank(request, stay, now)

    def ended(self, request: Request, now: float) -> None:
        self._promises.ended(request)
        self._lengths.ended(len(request.output_token_ids))
        del self._stays[request]

    def served(
        self, decoded: Sequence[Request], prefilled: Sequence[tuple[Request, int]], now: float
    ) -> None:
        self._now = now
        self._promises.served(decoded, prefilled, now)
        for request, _ in prefilled:
            if request in self._stays:
                self._stays[request].served_at = now

    def renew(self, live: Iterable[Request], now: float) -> bool:
        self._now = now
        self._num_steps += 1
        if self._num_steps % self._renew_every:
            return False
        self._promises.settle()
        self._tightest_s = self._promises.tightest_s()
        stays, is_changed = self._stays, False
        # Who yields first is no question while nobody waits.
        look_before = now if self._num_outside else float("-inf")
        self._num_outside = 0
        for request in live:
            stay, is_holding = stays[request], bool(request.device_blocks)
            self._num_outside += not is_holding
            if stay.look_at <= look_before or stay.is_holding is not is_holding:
                rank = self._rank(request, stay, now)
                is_changed |= rank != request.rank
                request.rank = rank
        return is_changed

    def presses(self, newcomer: Request) -> bool:
        stay = self._stays[newcomer]
        if _is_overdue(newcomer, stay):
            return True
        return not stay.turn.is_lost and stay.latest_at <= self._now + self._margin_s

    def may_displace(self, newcomer: Request, holder: Request) -> bool:
        staying = self._stays[holder]
        if _is_overdue(holder, staying):
            return False
        if staying.turn.is_lost or newcomer.rank == OVERDUE:
            return True
        cost = staying.chance_of_loss * newcomer.num_tokens
        return cost < self._exchange * holder.num_tokens

    def max_prefill_tokens(self) -> int | None:
        """Bounds a step by the tightest TBT among those who decode."""
        token_s = self._costs.prefill_token_s
        if self._tightest_s is None or not token_s:
            return None
        left_s = self._tightest_s * GAP_SHARE - self._costs.step_s
        return max(MIN_PREFILL_TOKENS, int(left_s / token_s))

    def _rank(self, request: Request, stay: _Stay, now: float) -> float:
        turn = stay.turn
        stay.is_holding = bool(request.device_blocks)
        stay.look_at = now + LOOK_S
        if turn.last_token_at is not None:
            stay.served_at = max(stay.served_at, turn.last_token_at)
        if now - stay.served_at >= self._max_wait_s:
            stay.keeps_until = len(request.output_token_ids) + self._quantum
        if _is_overdue(request, stay):
            stay.look_at = now
            return OVERDUE
        if stay.is_holding and turn.last_token_at is not None:
            return self._rank_holding(request, stay)
        assert self._began_at is not None
        stay.latest_at = self._due_at(turn) - self._work_s(request)
        turn.is_lost |= now > stay.latest_at
        if not stay.is_holding:
            due_at = stay.served_at + self._max_wait_s
            stay.look_at = due_at if turn.is_lost else min(due_at, stay.latest_at)
        if turn.is_lost:
            return LOST_WAITING + stay.served_at - self._began_at
        return max(0.0, stay.latest_at - self._began_at)

    def _rank_holding(self, request: Request, stay: _Stay) -> float:
        """Ranks one that decodes: whose pause is worth most goes first, at the end of the order."""
        turn = stay.turn
        if turn.is_lost:
            return LOST_HOLDING + request.num_tokens
        needed = turn.num_gaps_for_one_more()
        # The gap after the next token is the next there may be.
        stay.chance_of_loss = self._lengths.chance_below(needed, len(request.output_token_ids))
        pause_s = self._pause_s(turn)
        worth = request.num_tokens * pause_s / (stay.chance_of_loss + SURE)
        return HOLDING + min(worth, HOLDING)

    def _pause_s(self, turn: Turn) -> float:
        cap_s = turn.slo.max_gap_s
        return self._max_wait_s if cap_s is None else min(cap_s, self._max_wait_s)

    def _due_at(self, turn: Turn) -> float:
        if turn.last_token_at is None:
            return turn.first_due_at
        return turn.last_token_at + self._pause_s(turn)

    def _work_s(self, request: Request) -> float:
        """Returns how long its next token takes from here."""
        costs = self._costs
        num_to_compute = request.num_uncomputed
        if not request.num_computed:
            num_to_compute -= request.num_findable_tokens
        work_s = costs.step_s + num_to_compute * costs.prefill_token_s
        if not request.device_blocks:
            work_s += request.num_computed * costs.move_token_s
        return work_s


def _is_overdue(request: Request, stay: _Stay) -> bool:
    """Tells whether it waited too long, and has not had its quantum since."""
    return len(request.output_token_ids) < stay.keeps_until
