"""A played turn as the row that is recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import or_

from suite.driver.answer import Answer
from suite.driver.connection import Exchange, FailureSource
from suite.driver.http1 import Response
from suite.records.turn_records import TOGETHER_S, TurnRecord
from workloads.plan_parts import Conversation, Turn

_VERSION_HEADERS = {"x-litellm-version": "LiteLLM", "x-vllm-version": "vLLM"}
PROMPT_NS = 500_000  # a read that comes so soon after a packet: the loop was there, waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTurn:
    conversation: Conversation
    index: int  # the conversation's place in the plan
    number: int
    due_ns: int
    is_left: bool = False  # other conversations go on from its answer
    follows_answer: bool  # that of this turn's own conversation, or in a closed loop another's

    @property
    def turn(self) -> Turn:
        return self.conversation.turns[self.number]

    @property
    def next_turn(self) -> Turn | None:
        turns = self.conversation.turns
        return turns[self.number + 1] if self.number + 1 < len(turns) else None


@dataclass(slots=True, kw_only=True)
class PlayedTurn:
    """What came of a turn, filled in as it happens."""

    planned: PlannedTurn
    priority: int | None
    scheduled_ns: int
    server: int | None = None  # its place among those of the endpoint; None: it has one
    exchange: Exchange | None = None
    done_at_ns: int | None = None
    answer: Answer = field(default_factory=Answer)
    error_source: FailureSource = "server"  # of the answer's error, if it has one

    @property
    def response(self) -> Response | None:
        return None if self.exchange is None else self.exchange.response

    @property
    def has_failed(self) -> bool:
        return self.answer.error is not None


def turn_record(played: PlayedTurn, started_at_ns: int) -> TurnRecord:
    planned, answer, exchange = played.planned, played.answer, played.exchange
    conversation, response = planned.conversation, played.response
    read_at_ns = response.read_at_ns if response else ()
    assert played.done_at_ns is not None, planned

    def at_s(at_ns: int) -> float:
        return (at_ns - started_at_ns) / 1e9

    return TurnRecord(
        conversation_id=conversation.conversation_id,
        turn=planned.number,
        user_id=conversation.user_id,
        user_class=conversation.user_class,
        priority=played.priority,
        planned_output_tokens=planned.turn.num_output_tokens,
        planned_at=at_s(planned.due_ns),
        scheduled_at=at_s(played.scheduled_ns),
        sent_at=at_s(exchange.sent_at_ns) if exchange else None,
        token_at=tuple(at_s(read_at_ns[read]) for read in answer.token_reads),
        tokens_per_chunk=tuple(answer.tokens_per_chunk),
        done_at=at_s(played.done_at_ns),
        num_prompt_tokens=answer.num_prompt_tokens,
        num_cached_tokens=answer.num_cached_tokens,
        num_output_tokens=answer.num_output_tokens,
        num_hidden_tokens=answer.num_hidden_tokens,
        counted_by=answer.counted_by,
        num_coalesced=answer.num_coalesced,
        num_shared_chunks=_num_shared_chunks([read_at_ns[read] for read in answer.token_reads]),
        num_merged_chunks=_num_merged_chunks(answer, response),
        time_source="kernel" if response is not None and response.is_kernel_stamped else "user",
        finish_reason=answer.finish_reason,
        error=answer.error,
        error_source=played.error_source if answer.error is not None else None,
        server=played.server,
        answered_model=answer.model,
        system_fingerprint=answer.system_fingerprint,
        answered_server=server_of(response),
    )


def server_of(response: Response | None) -> str | None:
    """Returns which software the answer's head names: a gateway's own header says more than
    `Server`, which is mostly that of a framework."""
    headers = {} if response is None else response.headers
    for name, software in _VERSION_HEADERS.items():
        if headers.get(name):
            return f"{software} {headers[name]}"
    return headers.get("server") or None


def _num_shared_chunks(at_ns: Sequence[int]) -> int:
    """Counts chunks that came together with the one before or after."""
    is_close = [after - before < 1e9 * TOGETHER_S for before, after in pairwise(at_ns)]
    return sum(map(or_, [*is_close, False], [False, *is_close])) if is_close else 0


def _num_merged_chunks(answer: Answer, response: Response | None) -> int | None:
    """Counts chunks that share a read because it was late: they had come in packets of their own,
    of which a read holds no more than it has packets, and the last of them had lain for a while.
    Read at once, they came in one burst. None where nobody can tell."""
    shared = answer.shared_reads
    if response is None or not shared:
        return 0
    if not response.knows_segments:
        return None
    packets, delay_ns = response.read_segments, response.read_delay_ns
    late = [read for read in shared if packets[read] > 1 and delay_ns[read] > PROMPT_NS]
    return sum(min(shared[read], packets[read]) for read in late)
