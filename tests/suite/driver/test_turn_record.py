from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from suite.driver.answer import Answer
from suite.driver.connection import Exchange
from suite.driver.turn_record import PROMPT_NS, PlannedTurn, PlayedTurn, turn_record
from suite.records.turn_records import TurnRecord
from tests.suite.records.plans import plan_of


def recorded(
    chunks_per_read: Sequence[int],
    packets: Sequence[int],
    delay_ns: Sequence[int],
    apart_ns: int = 10_000_000,
) -> TurnRecord:
    """An answer whose reads brought so many chunks with tokens each, in so many packets."""
    loop = asyncio.new_event_loop()
    exchange = Exchange(loop.create_future())
    loop.close()
    response = exchange.response
    for number, _ in enumerate(chunks_per_read):
        response.read_ends.append(number)
        response.read_at_ns.append(number * apart_ns)
    response.read_segments.extend(packets)
    response.read_delay_ns.extend(delay_ns)
    reads = [read for read, num in enumerate(chunks_per_read) for _ in range(num)]
    answer = Answer(token_reads=reads, tokens_per_chunk=[1] * len(reads))
    planned = PlannedTurn(
        conversation=plan_of([1]).conversations[0],
        index=0,
        number=0,
        due_ns=0,
        follows_answer=False,
    )
    played = PlayedTurn(planned=planned, priority=None, scheduled_ns=0, exchange=exchange)
    played.answer, played.done_at_ns = answer, 9
    return turn_record(played, 0)


SOON, LATE = PROMPT_NS, PROMPT_NS + 1


@pytest.mark.parametrize(
    ("chunks", "packets", "delay_ns", "num_merged"),
    [
        ([1, 4, 1], [1, 1, 1], [LATE] * 3, 0),  # one packet: the server wrote four at once
        ([1, 4, 1], [1, 4, 1], [LATE] * 3, 4),  # they lay there: the driver was late
        ([1, 4, 1], [1, 4, 1], [SOON] * 3, 0),  # a burst of packets that nobody let lie
        ([1, 4, 1], [1, 2, 1], [LATE] * 3, 2),  # no more apart than there are packets
        ([1, 4, 3], [1, 9, 1], [LATE] * 3, 4),  # other packets held no tokens
        ([1, 4, 1], [], [], None),  # nobody knows
        ([1, 1, 1], [], [], 0),  # and nobody needs to
    ],
)
def test_whose_it_is_that_chunks_share_a_read(
    chunks: list[int], packets: list[int], delay_ns: list[int], num_merged: int | None
) -> None:
    record = recorded(chunks, packets, delay_ns)
    assert record.num_shared_chunks == sum(num for num in chunks if num > 1)
    assert record.num_merged_chunks == num_merged


@pytest.mark.parametrize(
    ("apart_ns", "num_shared"), [(99_999, 5), (100_000, 0), (20_000, 5), (1_000_000, 0)]
)
def test_a_burst_of_single_reads_came_together_too(apart_ns: int, num_shared: int) -> None:
    record = recorded([1] * 5, [1] * 5, [SOON] * 5, apart_ns)
    assert (record.num_shared_chunks, record.num_merged_chunks) == (num_shared, 0)
