"""Who holds the device in this step, and what each holder computes. Iteration level, no torch."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from engines.fastswitch.adaptive import CHOICES, Situation
from engines.fastswitch.kv_cache import KvCache
from engines.fastswitch.policy import POLICIES
from engines.fastswitch.request import Phase, Request
from engines.fastswitch.reuse import Reuse
from engines.fastswitch.settings import CoreSettings

# Share of the device pool kept free of newcomers, so that those who hold it can grow (vLLM: 1 %).
WATERMARK_RATIO = 0.01


@dataclass(slots=True)
class Decisions:
    num_preemptions: int = 0
    num_recompute_preemptions: int = 0
    num_dropped_tokens: int = 0
    num_found_tokens: int = 0  # of newcomers, in blocks known by their tokens


class Work(NamedTuple):
    """One request's part of a step: compute `num_tokens` from position num_computed on."""

    request: Request
    num_tokens: int
    is_decode: bool


class Scheduler:
    def __init__(self, core: CoreSettings, kv: KvCache, reuse: Reuse) -> None:
        mechanisms = core.mechanisms
        self._policy = POLICIES[mechanisms.policy]
        self._choose_to_wait = CHOICES[mechanisms.swap]
        self._kv = kv
        self._reuse = reuse
        self._swaps_out = mechanisms.preemption == "swap"
        self._max_batch_tokens = core.max_batch_tokens
        self._max_num_seqs = core.max_num_seqs
        self._watermark = max(1, round(core.num_device_blocks * WATERMARK_RATIO))
        self._decisions = Decisions()
        self._num_promised = 0  # draining blocks that a holder waits for to grow into
        self.step_s = 0.0  # of recent steps of the model; the engine keeps it

    def schedule(self, live: Iterable[Request]) -> list[Work]:
        """What to compute now; empty when everything waits for transfers under way."""
        ordered = sorted(live, key=self._policy.key)
        running = [request for request in ordered if request.phase is Phase.RUNNING]
        # After a preemption for lack of room, nobody new comes in: he would be the next to go.
        had_to_preempt = self._grow(running)
        if len(running) < len(ordered) and not had_to_preempt:
            outside = [r for r in ordered if r.phase in (Phase.WAITING, Phase.SWAPPED)]
            self._admit(outside, running, len(ordered) - len(running) - len(outside))
        return self._share_out(running)

    def take_decisions(self) -> Decisions:
        decisions, self._decisions = self._decisions, Decisions()
        return decisions

    def _grow(self, running: list[Request]) -> bool:
        """Blocks for the holders' next tokens, the most urgent first; the least urgent pay.

        Leaves in `running` those who still hold the device. Who must wait for a swap-out to land
        keeps its place, but has no blocks for its next token yet.
        """
        had_to_preempt = False
        self._num_promised = 0
        for request in self._kv.in_need(running):
            while request.phase is Phase.RUNNING and not self._grow_one(request):
                last = _last_to_stay(running, running.index(request))
                self._preempt(running.pop(last))
                had_to_preempt = True
        return had_to_preempt

    def _grow_one(self, request: Request) -> bool:
        """Give it the blocks it is missing, or promise them; False if there are not so many."""
        missing = self._kv.blocks_missing(request)
        if missing <= self._kv.device.num_free - self._num_promised:
            self._kv.grow(request)
        elif missing <= self._kv.num_reachable - self._num_promised:
            self._num_promised += missing
        else:
            return False
        return True

    def _admit(self, outside: list[Request], running: list[Request], num_arriving: int) -> None:
        """Newcomers in the policy's order, until the first who does not fit (yet).

        Those who can compute at once join `running`.
        """
        for request in outside:
            if request.host_copy is not None and request.host_copy.is_in_flight:
                return  # its own swap-out comes first
            victims = self._victims(request, running, num_arriving)
            if victims is None:
                return
            for victim in victims:
                running.remove(victim)
                self._preempt(victim)
            if self._kv.blocks_wanted(request) > self._kv.device.num_free - self._num_promised:
                return  # what makes room for it is on its way out
            if self._bring_in(request, running):
                insort(running, request, key=self._policy.key)
            else:
                num_arriving += 1

    def _victims(
        self, request: Request, running: list[Request], num_arriving: int
    ) -> list[Request] | None:
        """The holders that must go for `request`, least urgent first; None if that is not enough.

        `running` is in the policy's order.
        """
        missing = self._kv.blocks_wanted(request)
        num_free = self._kv.num_reachable - self._num_promised
        victims: list[Request] = []

        def fits() -> bool:
            num_others = len(running) - len(victims) + num_arriving
            margin = self._watermark if num_others else 0
            return missing + margin <= num_free and num_others < self._max_num_seqs

        for holder in reversed(running):
            if fits():
                break
            if not self._policy.may_displace(request, holder):
                return None
            if not holder.has_just_arrived:
                victims.append(holder)
                num_free += len(holder.device_blocks)
        return victims if fits() else None

    def _bring_in(self, request: Request, running: list[Request]) -> bool:
        """True when it can compute in this step: nothing had to come, or it was waited for."""
        flight = self._kv.bring_in(request)
        if flight is None:
            if not request.num_preemptions:
                request.num_cached_tokens = request.num_computed  # found by its tokens, if any
                self._decisions.num_found_tokens += request.num_computed
            return True
        if not flight.has_landed:
            situation = Situation(
                num_running=len(running),
                transfer_s=self._kv.swapper.expected_s(flight),
                step_s=self.step_s,
                is_most_urgent=all(request.priority < other.priority for other in running),
            )
            if self._choose_to_wait(situation):
                self._kv.swapper.wait(flight)
        self._kv.swapper.count_swap_in(is_sync=flight.has_landed)
        return flight.has_landed

    def _preempt(self, request: Request) -> None:
        decisions = self._decisions
        decisions.num_preemptions += 1
        request.num_preemptions += 1
        if self._swaps_out and request.num_computed and self._reuse.make_room_for(request):
            self._kv.swap_out(request)
            return
        num_computed = request.num_computed
        self._kv.drop(request)
        if num_computed > request.num_computed:  # else it had no KV to lose
            decisions.num_recompute_preemptions += 1
            decisions.num_dropped_tokens += num_computed - request.num_computed

    def _share_out(self, running: list[Request]) -> list[Work]:
        """The step's token budget: one token for each decoding request, prefill takes the rest."""
        ready = running
        if self._num_promised:
            in_need = self._kv.in_need(running)
            ready = [request for request in running if request not in in_need]
        # --- decode, and the last token of a prompt, which costs the device the same
        work, prefilling = [], []
        for request in ready:
            if request.num_uncomputed == 1:
                work.append(Work(request, 1, is_decode=bool(request.output_token_ids)))
            else:
                prefilling.append(request)
        budget = self._max_batch_tokens - len(work)
        # --- prefill, in chunks
        for request in prefilling:
            if budget <= 0:
                break
            num_tokens = min(request.num_uncomputed, budget)
            work.append(Work(request, num_tokens, is_decode=False))
            budget -= num_tokens
        return work


def _last_to_stay(running: list[Request], position: int) -> int:
    """Whom to send away so that running[position] can grow: the least urgent after it that has
    not just arrived, else the least urgent."""
    for i in range(len(running) - 1, position, -1):
        if not running[i].has_just_arrived:
            return i
    return len(running) - 1
