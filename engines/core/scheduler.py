"""Decides who holds the device in this step, and what each holder computes. No torch.

Most steps move nobody. Such a quiet step asks nobody anything again, and rests on one invariant:

    While `roster.has_changed` is False, everybody in `roster.running` stands in the order, and in
    the part (decoding or prefilling), in which the last `_share_out` put him, and the blocks of all
    cover their tokens, but for those of `Decodes.at_block_end`, who miss one block each.

It holds because (1) whoever enters, leaves or reorders `running` sets the flag, in the roster;
(2) `_share_out` lowers the flag only after `_grow` has given everybody his blocks, and who was only
promised some has it raised again by the next `schedule`; (3) from then on nothing but the step's
tokens changes what is needed, for nobody who runs loses a block. A decoding request gets one token
a step, so its blocks fall short exactly when it has filled the last, which `Decodes` knows by
counting steps. A prefilling one gets a token only with the last chunk of its prompt; then one token
is left to compute, which makes it a decoding one and raises the flag.

So `at_block_end` may stand for `KvCache.in_need` of all who run. `check_integrity` compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from engines.core.adaptive import CHOICES, Situation
from engines.core.decodes import Decodes
from engines.core.flight import Flight
from engines.core.kv_cache import KvCache
from engines.core.request import Phase, Request
from engines.core.reuse import Reuse
from engines.core.roster import Roster
from engines.core.settings import CoreSettings

# How many behind one that does not fit are looked at; 64 do no better (benchmarks/README.md).
MAX_LOOK_AHEAD = 8


@dataclass(slots=True)
class Decisions:
    num_preemptions: int = 0
    num_recompute_preemptions: int = 0
    num_dropped_tokens: int = 0
    num_found_tokens: int = 0  # of newcomers, in blocks known by their tokens


class Prefill(NamedTuple):
    """One request's part of a step: compute `num_tokens` from position num_computed on."""

    request: Request
    num_tokens: int


@dataclass(slots=True, kw_only=True)
class Work:
    """What a step computes: first one token for each of `decodes`, then the chunks of prompts."""

    decodes: Decodes  # the same object in each step
    prefills: list[Prefill]

    def __bool__(self) -> bool:
        return bool(self.decodes.requests or self.prefills)


class Scheduler:
    def __init__(self, core: CoreSettings, kv: KvCache, reuse: Reuse, roster: Roster) -> None:
        mechanisms = core.mechanisms
        self._policy = roster.policy
        self._backfills = mechanisms.admission == "backfill"
        self._choose_to_wait = CHOICES[mechanisms.swap]
        self._kv = kv
        self._reuse = reuse
        self._roster = roster
        self._swaps_out = mechanisms.preemption == "swap"
        self._max_batch_tokens = core.max_batch_tokens
        self._max_num_seqs = core.max_num_seqs
        watermark = core.num_device_blocks * mechanisms.watermark_ratio
        self._watermark = max(1, round(watermark)) if watermark else 0
        self._decisions = Decisions()
        self._decodes = Decodes(core.block_size)
        self._prefilling: list[Request] = []  # on the device, with more than one token to compute
        self._num_promised = 0  # draining blocks that a holder waits for to grow into
        self.step_s = 0.0  # of recent steps of the model; the engine keeps it

    def schedule(self) -> Work:
        """Returns what to compute now: nothing when everything waits for transfers under way."""
        roster = self._roster
        roster.land()
        if self._will_decode_others():
            roster.has_changed = True
        # After a preemption for lack of room, nobody new comes in: he would be the next to go.
        if not self._grow() and roster.outside:
            self._admit()
        roster.settle()
        return self._share_out()

    def check_integrity(self) -> None:
        """Compares what a quiet step would rely on with all who run. Raises AssertionError."""
        if self._roster.has_changed or self._will_decode_others():
            return
        running, members = self._roster.running, self._decodes.members
        assert self._decodes.requests == [each for each in running if each in members]
        assert self._prefilling == [each for each in running if each not in members]
        assert all(each.num_uncomputed == 1 for each in members)
        assert self._decodes.at_block_end() == self._kv.in_need(running)

    def take_decisions(self) -> Decisions:
        decisions, self._decisions = self._decisions, Decisions()
        return decisions

    def _will_decode_others(self) -> bool:
        """Whether somebody who runs decodes in the next step and did not in the last: his promised
        blocks may have come, or one token of his prompt is left."""
        return bool(self._num_promised) or any(
            each.num_uncomputed == 1 for each in self._prefilling
        )

    def _grow(self) -> bool:
        """Gives the holders blocks for their next tokens, the most urgent first; the least urgent
        pay. Returns whether somebody had to.

        Who must wait for a swap-out to land still runs, but has no blocks for its next token yet.
        """
        had_to_preempt = False
        roster = self._roster
        in_need = (
            self._kv.in_need(roster.running)
            if roster.has_changed
            else list(self._decodes.at_block_end())
        )
        self._num_promised = 0
        for request in in_need:
            while request.phase is Phase.RUNNING and not self._grow_one(request):
                self._preempt(_last_to_stay(roster.running, request))
                had_to_preempt = True
        return had_to_preempt

    def _grow_one(self, request: Request) -> bool:
        """Give it the blocks it is missing, or promise them; False if there are not so many."""
        missing = self._kv.blocks_missing(request)
        if missing <= self._kv.device.num_free - self._num_promised:
            self._kv.grow(request, missing)
        elif missing <= self._kv.num_reachable - self._num_promised:
            self._num_promised += missing
        else:
            return False
        return True

    def _admit(self) -> None:
        """Lets newcomers in, in the policy's order, until the first who does not fit (yet)."""
        roster = self._roster
        while roster.outside:
            request = roster.outside[0]
            if request.host_copy is not None and request.host_copy.is_in_flight:
                return  # its own swap-out comes first
            victims = self._victims(request)
            if victims is None:
                if self._backfills:
                    self._fill_gap()
                return
            for victim in victims:
                self._preempt(victim)
            if self._kv.blocks_wanted(request) > self._kv.device.num_free - self._num_promised:
                return  # what makes room for it is on its way out
            self._bring_in(request)

    def _fill_gap(self) -> None:
        """Lets the next few come in who fit beside the first in line, which does not. They make way
        for whomever they passed, so nobody waits longer for them than a swap-out takes."""
        for request in self._roster.outside[1 : 1 + MAX_LOOK_AHEAD]:
            if request.host_copy is not None and request.host_copy.is_in_flight:
                continue
            num_others = len(self._roster.running) + len(self._roster.arriving)
            num_free = self._kv.device.num_free - self._num_promised
            if self._fits(self._kv.blocks_wanted(request), num_free, num_others):
                self._bring_in(request, has_passed=True)

    def _victims(self, request: Request) -> list[Request] | None:
        """Returns who must go for `request`, least urgent first; None if that is not enough."""
        running, num_arriving = self._roster.running, len(self._roster.arriving)
        missing, key = self._kv.blocks_wanted(request), self._policy.key
        num_free = self._kv.num_reachable - self._num_promised
        num_others = len(running) + num_arriving
        victims: list[Request] = []
        num_freed = self._kv.freed_for(request)
        presses = self._policy.presses(request)
        for holder in reversed(running):
            if self._fits(missing, num_free, num_others):
                break
            if key(holder) < key(request):
                return None  # it and all who are left come first
            may_displace = holder.has_passed or (
                presses and self._policy.may_displace(request, holder)
            )
            if may_displace and not holder.must_stay:
                victims.append(holder)
                num_free += num_freed(holder.device_blocks)
                num_others -= 1
        return victims if self._fits(missing, num_free, num_others) else None

    def _fits(self, num_blocks: int, num_free: int, num_others: int) -> bool:
        margin = self._watermark if num_others else 0
        return num_blocks + margin <= num_free and num_others < self._max_num_seqs

    def _bring_in(self, request: Request, *, has_passed: bool = False) -> None:
        """Lets a request in. It runs in this step if nothing had to come, or if that was waited
        for."""
        self._roster.take_in(request)
        request.has_passed = has_passed
        flight = self._kv.bring_in(request)
        if flight is None:
            if not request.num_preemptions:
                request.num_cached_tokens = request.num_computed  # found by its tokens, if any
                self._decisions.num_found_tokens += request.num_computed
            self._roster.run(request)
            return
        if not flight.has_landed and self._choose_to_wait(self._situation(request, flight)):
            self._kv.swapper.wait(flight)
        self._kv.swapper.count_swap_in(is_sync=flight.has_landed)
        if flight.has_landed:
            self._roster.run(request)
        else:
            self._roster.arrive(request)

    def _situation(self, request: Request, flight: Flight) -> Situation:
        running = self._roster.running
        return Situation(
            num_running=len(running),
            transfer_s=self._kv.swapper.expected_s(flight),
            step_s=self.step_s,
            is_most_urgent=all(self._policy.outranks(request, other) for other in running),
        )

    def _preempt(self, request: Request) -> None:
        self._roster.send_away(request)
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
            request.num_tokens_at_loss = request.num_tokens

    def _share_out(self) -> Work:
        """Shares out the step's token budget: one for each decoding request, prefill takes the
        rest."""
        # --- decode, and the last token of a prompt, which costs the device the same
        if self._roster.has_changed or self._num_promised:
            ready, members = self._ready(), self._decodes.members
            # Who decoded in the last step and is still here has one token to compute again.
            self._prefilling = [r for r in ready if r not in members and r.num_uncomputed != 1]
            self._decodes.replace([r for r in ready if r in members or r.num_uncomputed == 1])
            self._roster.has_changed = False
        budget = self._max_batch_tokens - len(self._decodes.requests)
        bound = self._policy.max_prefill_tokens() if self._prefilling else None
        if bound is not None:
            budget = min(budget, bound if self._decodes.requests else max(1, bound))
        # --- prefill, in chunks
        prefills = []
        for request in self._prefilling:
            if budget <= 0:
                break
            num_tokens = min(request.num_uncomputed, budget)
            prefills.append(Prefill(request, num_tokens))
            budget -= num_tokens
        return Work(decodes=self._decodes, prefills=prefills)

    def _ready(self) -> list[Request]:
        """Returns who runs and has the blocks for it."""
        running = self._roster.running
        if not self._num_promised:
            return running
        in_need = set(self._kv.in_need(running))
        return [request for request in running if request not in in_need]


def _last_to_stay(running: list[Request], request: Request) -> Request:
    """Returns whom to send away so that `request` can grow: the least urgent after it whose stay
    was not in vain, else the least urgent."""
    for other in reversed(running):
        if other is request:
            break
        if not other.must_stay:
            return other
    return running[-1]
