"""How far a plan's conversations begin alike: what one may rightly find of another in a cache.

Read from what the plan asks, so it holds for whatever made it so: a trace's shared blocks, texts
with the same beginning, a conversation that is held twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from workloads.plan import Plan
from workloads.plan_parts import Conversation, Message, TokenIds, Turn

ID_BYTES = 4
SharedRatios = Mapping[tuple[str, int], float]  # by conversation and turn; others have 0


def shared_ratios(plan: Plan) -> SharedRatios:
    """Returns the share (0–1] of a turn's new prompt with which another conversation of the plan
    goes on too, all that was said before being the same."""
    by_id = {each.conversation_id: each for each in plan.conversations}
    histories = [_history(each, by_id) for each in plan.conversations]
    spelt = sorted(
        (history + b"".join(_spelt(each.turns)), number)
        for number, (history, each) in enumerate(zip(histories, plan.conversations, strict=True))
    )
    longest = np.zeros(len(plan.conversations), dtype=np.int64)
    for (one, i), (other, k) in pairwise(spelt):  # the closest are neighbours
        num = _num_common(one, other)
        longest[i], longest[k] = max(longest[i], num), max(longest[k], num)
    return {
        (conversation.conversation_id, number): ratio
        for conversation, history, num in zip(
            plan.conversations, histories, longest.tolist(), strict=True
        )
        for number, ratio in _ratios(conversation, num - len(history))
    }


def _history(conversation: Conversation, by_id: Mapping[str, Conversation]) -> bytes:
    """Returns what was said before its first turn."""
    branch = conversation.branch
    origin = None if branch is None else by_id.get(branch.conversation_id)
    if branch is None or origin is None or not branch.keeps_history:
        return b""
    said = b"".join(_spelt(origin.turns[: branch.turn + 1]))
    return _history(origin, by_id) + said


def _ratios(conversation: Conversation, num_common: int) -> Iterator[tuple[int, float]]:
    """Yields each turn's share of common bytes, as far as they go."""
    start = 0
    for number, turn in enumerate(conversation.turns):
        prompt = len(_prompt(turn))
        common = min(prompt, num_common - start)
        if turn.prompt_text is None and not turn.messages:
            common -= common % ID_BYTES  # of an id that differs, some bytes may be the same
        if common <= 0:
            return
        yield number, common / prompt
        start += prompt + len(_answer(turn))


def _spelt(turns: Sequence[Turn]) -> list[bytes]:
    return [part for turn in turns for part in (_prompt(turn), _answer(turn))]


def _prompt(turn: Turn) -> bytes:
    """Returns the bytes of a prompt; text wins over ids, as when it is asked."""
    if turn.messages:
        return b"".join(_message(message, ids) for message, ids in turn.spans())
    if turn.prompt_text is not None:
        return turn.prompt_text.encode() or b"\0"
    return _ids(turn.new_prompt_token_ids) or b"\0"


def _message(message: Message, ids: TokenIds) -> bytes:
    """Returns a message's bytes: what is said comes last, for of that a part may be common."""
    said = _ids(ids) if message.text is None else message.text.encode()
    return f"{message.role}\0{message.fields or ''}\0".encode() + said


def _ids(token_ids: TokenIds) -> bytes:
    return token_ids.astype(">i4").tobytes()


def _answer(turn: Turn) -> bytes:
    """Returns what stands for an answer: one question gets one answer, if it is as long. No id and
    no text begins so."""
    return (0x8000_0000 | turn.num_output_tokens).to_bytes(4)


def _num_common(one: bytes, other: bytes) -> int:
    num = min(len(one), len(other))
    a, b = (np.frombuffer(each, dtype=np.uint8, count=num) for each in (one, other))
    differing = np.flatnonzero(a != b)
    return int(differing[0]) if len(differing) else num
