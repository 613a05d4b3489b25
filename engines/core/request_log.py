"""One row a request that has ended, and how its latency was spent. `requests.parquet` of a run has
these columns. Instants on the engine's clock; tokens go out when their step ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import fsum

from engines.core.request import FinishReason, Request


class State(StrEnum):
    """What a request spends its time on; at any instant one of these."""

    QUEUED = "queued"  # waits and was never on the device
    PREEMPTED = "preempted"  # was sent away
    SWAP_WAIT = "swap_wait"  # its KV is under way from the host
    HELD = "held"  # on the device, but not in the step's batch
    STALLED = "stalled"  # in the batch, while the engine stood idle for a transfer
    COMPUTING = "computing"  # in the batch, the step's bookkeeping included


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    state: State
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    request_id: str
    conversation_id: str | None
    arrived_at: float
    first_token_at: float | None
    finished_at: float
    priority: int  # the last one
    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
    num_preemptions: int
    finish_reason: FinishReason
    queued_s: float  # the six add up to finished_at − arrived_at
    preempted_s: float
    swap_wait_s: float
    held_s: float
    stalled_s: float
    computing_s: float
    spans: tuple[Span, ...]  # without gaps from arrived_at to finished_at


def record_of(
    request: Request, spans: tuple[Span, ...], *, first_token_at: float | None, finished_at: float
) -> RequestRecord:
    assert request.finish_reason is not None, f"{request.request_id} has not ended"
    spent = {
        f"{state}_s": fsum(each.ended_at - each.began_at for each in spans if each.state is state)
        for state in State
    }
    return RequestRecord(
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        arrived_at=request.arrived_at,
        first_token_at=first_token_at,
        finished_at=finished_at,
        priority=request.priority,
        num_prompt_tokens=len(request.prompt_token_ids),
        num_cached_tokens=request.num_cached_tokens,
        num_output_tokens=len(request.output_token_ids),
        num_preemptions=request.num_preemptions,
        finish_reason=request.finish_reason,
        **spent,
        spans=spans,
    )
