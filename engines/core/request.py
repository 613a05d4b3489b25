"""A request: what one turn becomes inside the engine. Values and state only; no policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from engines.core.flight import Flight
from engines.core.sampling_params import SamplingParams
from engines.terms import UNKNOWN, Terms


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


class Phase(StrEnum):
    WAITING = "waiting"  # holds no device blocks; what it had computed is gone (or never was)
    RUNNING = "running"  # holds device blocks with its KV in them
    ARRIVING = "arriving"  # holds device blocks; its KV is on the way from the host
    SWAPPED = "swapped"  # its KV is in host blocks
    FINISHED = "finished"


@dataclass(slots=True, kw_only=True, eq=False)
class HostCopy:
    """KV of a conversation's first `num_tokens` tokens in host memory."""

    owner: str  # whose group in the host pool it grows in
    blocks: list[int] = field(default_factory=list)
    num_tokens: int = 0  # valid ones; blocks cover exactly these
    flight: Flight | None = None  # the last transfer that reads or writes it

    @property
    def is_in_flight(self) -> bool:
        return self.flight is not None and not self.flight.has_landed


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One turn inside the engine.

    Token layout: [0, num_computed) has KV, [num_computed, num_tokens) has not yet.

    While decoding exactly one token is without KV: the one sampled last.
    """

    request_id: str
    prompt_token_ids: list[int]
    sampling: SamplingParams
    arrived_at: float
    serial: int = 0  # in the order of submission; the engine sets it
    priority: int = 0  # smaller = more urgent
    rank: float = 0.0  # smaller = more urgent; a policy's, that goes by it
    conversation_id: str | None = None
    terms: Terms = UNKNOWN  # who asks, and what was promised

    output_token_ids: list[int] = field(default_factory=list)
    phase: Phase = Phase.WAITING
    num_computed: int = 0
    device_blocks: list[int] = field(default_factory=list)
    host_copy: HostCopy | None = None
    block_digests: list[bytes] = field(default_factory=list)  # of its full blocks; prefix only
    num_known_blocks: int = 0  # of its first device blocks, found by others; prefix only
    has_just_arrived: bool = False  # swapped in and not yet computed
    has_passed: bool = False  # others before it outside when it came in (`admission: backfill`)
    num_findable_tokens: int = 0  # when submitted, in blocks known by their tokens; prefix only
    num_cached_tokens: int = 0  # prompt tokens whose KV was reused from an earlier turn
    num_preemptions: int = 0
    num_tokens_at_loss: int = 0  # when it was last sent away without its KV; 0 = never was
    finish_reason: FinishReason | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.prompt_token_ids) + len(self.output_token_ids)

    @property
    def num_uncomputed(self) -> int:
        return len(self.prompt_token_ids) + len(self.output_token_ids) - self.num_computed

    @property
    def must_stay(self) -> bool:
        """Tells whether its coming in would have been in vain, were it sent away now: it has not
        computed since, or has no token to show for what it had to compute again."""
        return self.has_just_arrived or self.num_tokens_at_loss == self.num_tokens

    def ending(self) -> FinishReason | None:
        """Returns what its last output token ends it with, None where it goes on."""
        sampling, outputs = self.sampling, self.output_token_ids
        if not sampling.ignore_eos and outputs[-1] in sampling.eos_token_ids:
            return FinishReason.STOP
        if len(outputs) >= sampling.max_tokens:
            return FinishReason.LENGTH
        return None

    def tokens_between(self, start: int, stop: int) -> list[int]:
        """Returns the token ids at positions [start, stop), prompt and output as one sequence."""
        num_prompt = len(self.prompt_token_ids)
        if start >= num_prompt:
            return self.output_token_ids[start - num_prompt : stop - num_prompt]
        head = self.prompt_token_ids[start : min(stop, num_prompt)]
        return head + self.output_token_ids[: max(0, stop - num_prompt)]


class RequestOutput(NamedTuple):  # a tuple: made at a third of a frozen dataclass's cost
    """What one step gave one request."""

    request_id: str
    token_ids: list[int]  # new in this step, in order
    finish_reason: FinishReason | None  # set on the last output of the request
    num_prompt_tokens: int
    num_cached_tokens: int
