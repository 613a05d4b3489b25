"""Qwen traces of Aliyun Bailian (ATC'25): jsonl with arrival, lengths, the chat that is continued,
and the ids of 16-token blocks.

`timestamp` is in seconds. A request whose `parent_chat_id` is an earlier `chat_id` of the file is
that chat's next turn; a second one is a branch (a question asked again, or another one). Equal
`hash_ids` mean equal content: prompts of different conversations share what they shared in the
original. That holds for what a conversation begins with; later turns extend it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workloads.shapes import BranchShape, ConversationShape, Tally, TurnShape
from workloads.traces.files import Row, json_rows

SOURCE = (
    "Bailian traces: github.com/alibaba-edu/qwen-bailian-usagetraces-anon "
    "(see docs/workloads.md, Traces)"
)
BLOCK_TOKENS = 16
MAX_ID = 2**53
EMPTY = "requests without prompt or answer tokens (skipped)"
ORPHAN = "requests that continue a chat which is not in the file (own conversation)"
BRANCH = "requests that continue a turn already continued (a branch of its conversation)"
SHORTENED = "later prompts not longer than their history (taken as 1 new token)"


@dataclass(slots=True)
class _Request:
    at_us: int
    num_prompt_tokens: int  # the whole prompt, history included
    num_output_tokens: int
    block_ids: array[int]  # of one that continues nothing
    children: list[_Request] = field(default_factory=list)


def read_bailian(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    roots: list[_Request] = []
    by_chat: dict[int, _Request] = {}
    for row in json_rows(path, SOURCE):
        if 0 in (row.integer("input_length", 0), row.integer("output_length", 0)):
            tally[EMPTY] += 1
            continue
        parent = _parent(row, by_chat, tally)
        request = _request(row, is_root=parent is None)
        if parent is None:
            roots.append(request)
        else:
            if request.at_us < parent.at_us:
                raise row.error("timestamp must not be before its parent's")
            tally[BRANCH] += bool(parent.children)
            parent.children.append(request)
        by_chat[_chat_id(row)] = request
    by_chat.clear()
    roots.sort(key=lambda root: root.at_us)
    for root in roots:
        yield _conversation(root, None, 0, tally)


def _chat_id(row: Row) -> int:
    return row.integer("chat_id", 0, maximum=MAX_ID)


def _parent(row: Row, by_chat: dict[int, _Request], tally: Tally) -> _Request | None:
    """Returns the request whose conversation this one goes on with; None = it starts one."""
    if "parent_chat_id" not in row.values:
        return None
    chat = row.integer("parent_chat_id", -1, maximum=MAX_ID)
    if chat == -1:
        return None
    tally[ORPHAN] += chat not in by_chat
    return by_chat.get(chat)


def _request(row: Row, *, is_root: bool) -> _Request:
    prompt = row.integer("input_length", 1)
    return _Request(
        at_us=row.instant_us("timestamp", 1_000_000),
        num_prompt_tokens=prompt,
        num_output_tokens=row.integer("output_length", 1),
        block_ids=_block_ids(row, prompt, is_kept=is_root),
    )


def _block_ids(row: Row, prompt: int, *, is_kept: bool) -> array[int]:
    """Returns the blocks' ids; whether an unfilled last block has one is left open."""
    ids = row.values.get("hash_ids", [])
    try:
        found = array("q", ids if isinstance(ids, list) else [None])
    except (TypeError, OverflowError):
        raise row.error("hash_ids must be a list of whole numbers") from None
    if len(found) > -(-prompt // BLOCK_TOKENS):
        raise row.error(
            f"hash_ids must be at most one for every {BLOCK_TOKENS} tokens of {prompt}, "
            f"got {len(found)}"
        )
    return found if is_kept else array("q")


def _conversation(
    first: _Request, parent: _Request | None, context: int, tally: Tally
) -> ConversationShape:
    """Returns the conversation from this request on, first children first; the others branch off.
    `context`: tokens that were said before it."""
    turns: list[TurnShape] = []
    branches: list[BranchShape] = []
    request: _Request | None = first
    while request is not None:
        turn = _turn(request, parent, context, tally)
        turns.append(turn)
        context += turn.num_tokens
        branches += [
            BranchShape(
                after_turn=len(turns) - 1,
                conversation=_conversation(other, request, context, tally),
            )
            for other in request.children[1:]
        ]
        parent, request = request, request.children[0] if request.children else None
    return ConversationShape(turns=tuple(turns), start_us=first.at_us, branches=tuple(branches))


def _turn(request: _Request, parent: _Request | None, context: int, tally: Tally) -> TurnShape:
    new = request.num_prompt_tokens - context
    tally[SHORTENED] += new < 1
    return TurnShape(
        num_new_prompt_tokens=max(new, 1),
        num_output_tokens=request.num_output_tokens,
        gap_us=None if parent is None else request.at_us - parent.at_us,
        shared_block_ids=request.block_ids,
        block_tokens=BLOCK_TOKENS,
    )
