"""Who holds the device in this step, and what each holder computes. Iteration level, no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engines.fastswitch.kv_cache import KvCache
from engines.fastswitch.policy import Policy
from engines.fastswitch.request import Phase, Request
from engines.fastswitch.reuse import Reuse
from engines.fastswitch.settings import CoreSettings

# Share of the device pool kept free of newcomers, so that those who hold it can grow (vLLM: 1 %).
WATERMARK_RATIO = 0.01


@dataclass(slots=True)
class Preemptions:
    num_preemptions: int = 0
    num_recompute_preemptions: int = 0
    num_dropped_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """One request's part of a step: compute `num_tokens` from position num_computed on."""

    request: Request
    num_tokens: int
    is_decode: bool


class Scheduler:
    def __init__(self, core: CoreSettings, policy: Policy, kv: KvCache, reuse: Reuse) -> None:
        self._policy = policy
        self._kv = kv
        self._reuse = reuse
        self._swaps_out = core.mechanisms.preemption == "swap"
        self._max_batch_tokens = core.max_batch_tokens
        self._max_num_seqs = core.max_num_seqs
        self._watermark = max(1, round(core.num_device_blocks * WATERMARK_RATIO))
        self._preemptions = Preemptions()

    def schedule(self, live: Iterable[Request]) -> list[Work]:
        order = sorted(live, key=self._policy.key)
        running = [request for request in order if request.phase is Phase.RUNNING]
        outside = [request for request in order if request.phase is not Phase.RUNNING]
        had_to_preempt = self._grow(running)
        # After a preemption for lack of room, nobody new comes in: he would be the next to go.
        if not had_to_preempt:
            running = self._admit(outside, running)
        return self._share_out(running)

    def take_preemptions(self) -> Preemptions:
        preemptions, self._preemptions = self._preemptions, Preemptions()
        return preemptions

    def _grow(self, running: list[Request]) -> bool:
        """Blocks for the holders' next tokens, the most urgent first; the least urgent pay.

        Leaves in `running` those who still hold the device.
        """
        had_to_preempt = False
        position = 0
        while position < len(running):
            request = running[position]
            if self._kv.blocks_missing(request) <= self._kv.device.num_free:
                self._kv.grow(request)
                position += 1
            else:
                self._preempt(running.pop())  # the last may be `request` itself: then we are done
                had_to_preempt = True
        return had_to_preempt

    def _admit(self, outside: list[Request], running: list[Request]) -> list[Request]:
        """Newcomers in the policy's order, until the first who does not fit."""
        admitted: list[Request] = []
        for request in outside:
            victims = self._victims(request, running, num_admitted=len(admitted))
            if victims is None:
                break
            for victim in victims:
                self._preempt(victim)
            del running[len(running) - len(victims) :]
            self._kv.bring_in(request)
            admitted.append(request)
        return sorted(running + admitted, key=self._policy.key) if admitted else running

    def _victims(
        self, request: Request, running: list[Request], *, num_admitted: int
    ) -> list[Request] | None:
        """The holders that must go for `request`, least urgent first; None if that is not enough.

        `running` is in the policy's order.
        """
        num_seats = self._max_num_seqs - num_admitted
        is_alone = not running and not num_admitted
        wanted = self._kv.blocks_missing(request) + (0 if is_alone else self._watermark)
        num_free = self._kv.device.num_free
        victims: list[Request] = []
        for holder in reversed(running):
            if wanted <= num_free and len(running) - len(victims) < num_seats:
                break
            if not self._policy.may_displace(request, holder):
                return None
            victims.append(holder)
            num_free += len(holder.device_blocks)
        if len(running) == len(victims) and not num_admitted:
            wanted = self._kv.blocks_missing(request)  # with the device to itself: no watermark
        has_seat = len(running) - len(victims) < num_seats
        return victims if wanted <= num_free and has_seat else None

    def _preempt(self, request: Request) -> None:
        preemptions = self._preemptions
        preemptions.num_preemptions += 1
        request.num_preemptions += 1
        num_blocks = self._kv.blocks_for(request.num_computed)
        if self._swaps_out and num_blocks and self._reuse.make_room(num_blocks):
            self._kv.swap_out(request)
            return
        if num_blocks:  # else it had no KV to lose
            preemptions.num_recompute_preemptions += 1
            preemptions.num_dropped_tokens += request.num_computed
        self._kv.drop(request)

    def _share_out(self, running: list[Request]) -> list[Work]:
        """The step's token budget: one token for each decoding request, prefill takes the rest."""
        # --- decode, and the last token of a prompt, which costs the device the same
        work = [
            Work(request, 1, is_decode=bool(request.output_token_ids))
            for request in running
            if request.num_uncomputed == 1
        ]
        budget = self._max_batch_tokens - len(work)
        # --- prefill, in chunks
        for request in running:
            if request.num_uncomputed > 1 and budget > 0:
                num_tokens = min(request.num_uncomputed, budget)
                work.append(Work(request, num_tokens, is_decode=False))
                budget -= num_tokens
        return work
