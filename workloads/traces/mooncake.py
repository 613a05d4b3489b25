"""Mooncake traces (FAST'25): jsonl with arrival, lengths and the ids of 512-token prefix blocks.

Published files have `timestamp` (ms), `input_length`, `output_length`, `hash_ids`; each line is
then one turn. Where a line also has `parent` (the 0-based number of the line whose conversation it
continues, −1 for none), conversations are rebuilt from it.

Equal `hash_ids` mean equal content, so prompts of different conversations share what they shared
in the original. That holds for first turns; later turns extend their own conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.files import Row, json_rows

SOURCE = (
    "Mooncake traces: github.com/kvcache-ai/Mooncake, FAST25-release/traces "
    "(see docs/workloads.md, Traces)"
)
BLOCK_TOKENS = 512
MAX_LINES = 2**53  # no bound of its own: it must be an earlier line
EMPTY = "requests without prompt or answer tokens (skipped)"
BRANCH = "requests that continue a turn already continued (own conversation)"
ORPHAN = "requests that continue a skipped one (own conversation)"
SHORTENED = "later prompts not longer than their history (taken as 1 new token)"


@dataclass(slots=True)
class _Thread:
    """A conversation while it is being rebuilt."""

    start_us: int
    turns: list[TurnShape] = field(default_factory=list)
    last_line: int = -1  # the line its newest turn came from
    last_us: int = 0
    context: int = 0


def read_mooncake(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    threads: list[_Thread] = []
    thread_of_line: list[_Thread | None] = []
    for row in json_rows(path, SOURCE):
        if 0 in (row.integer("input_length", 0), row.integer("output_length", 0)):
            tally[EMPTY] += 1
            thread_of_line.append(None)
            continue
        thread = _continued(row, thread_of_line, tally)
        if thread is None:
            thread = _Thread(start_us=_at_us(row))
            threads.append(thread)
        _append(thread, row, len(thread_of_line), tally)
        thread_of_line.append(thread)
    threads.sort(key=lambda thread: thread.start_us)
    for thread in threads:
        yield ConversationShape(start_us=thread.start_us, turns=tuple(thread.turns))


def _at_us(row: Row) -> int:
    return row.instant_us("timestamp", 1000)


def _continued(row: Row, thread_of_line: list[_Thread | None], tally: Tally) -> _Thread | None:
    """Returns the conversation this line goes on with; None = it starts one."""
    if "parent" not in row.values:
        return None
    parent = row.integer("parent", -1, maximum=MAX_LINES)
    if parent == -1:
        return None
    if parent >= len(thread_of_line):
        raise row.error(f"parent must be an earlier line (0-based), got {parent}")
    thread = thread_of_line[parent]
    if thread is None:
        tally[ORPHAN] += 1
    elif thread.last_line != parent:
        tally[BRANCH] += 1
        return None
    return thread


def _append(thread: _Thread, row: Row, line: int, tally: Tally) -> None:
    is_first = not thread.turns
    at_us, prompt = _at_us(row), row.integer("input_length", 1)
    new = prompt - thread.context
    if new < 1:
        tally[SHORTENED] += 1
        new = 1
    if at_us < thread.last_us:
        raise row.error("timestamp must not be before its parent's")
    turn = TurnShape(
        num_new_prompt_tokens=new,
        num_output_tokens=row.integer("output_length", 1),
        gap_us=None if is_first else at_us - thread.last_us,
        shared_block_ids=_block_ids(row, prompt) if is_first else (),
        block_tokens=BLOCK_TOKENS,
    )
    thread.turns.append(turn)
    thread.last_line, thread.last_us = line, at_us
    thread.context += turn.num_tokens


def _block_ids(row: Row, prompt: int) -> tuple[int, ...]:
    ids = row.values.get("hash_ids", [])
    if not isinstance(ids, list) or not all(isinstance(block, int) for block in ids):
        raise row.error("hash_ids must be a list of whole numbers")
    if ids and len(ids) != -(-prompt // BLOCK_TOKENS):
        raise row.error(
            f"hash_ids must be one for every {BLOCK_TOKENS} tokens of {prompt}, got {len(ids)}"
        )
    return tuple(ids)
