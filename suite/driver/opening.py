"""A few words of a trial's own before each conversation's first prompt, so that no server finds in
its cache what another trial has asked it.

They stand at the very front, where a prefix cache begins to compare, and are the same for all
conversations of the trial, so that prefixes which conversations share stay shared. In words and as
token ids they come from what the plan itself asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log2

import numpy as np

from suite.driver.words import WORDS, render_ids
from workloads.plan import Plan
from workloads.plan_parts import TOOLS_ROLE, Conversation, Message, TokenIds, Turn

NUM_BITS = 60  # so many different openings at least: 8 of the 253 words


def opening_of(plan: Plan, salt: str, words: Sequence[str] = WORDS) -> tuple[int, ...]:
    """Returns token ids, as many for every salt; none where the plan's tokens are all the same.
    `words` are those that text is made of."""
    alphabet = _alphabet(plan, len(words))
    if len(alphabet) < 2:
        return ()
    length = ceil(NUM_BITS / log2(len(alphabet)))
    # Wide enough that no choice is likelier than another.
    number = int.from_bytes(hashlib.shake_256(salt.encode()).digest(length + 16))
    found = []
    for _ in range(length):
        number, place = divmod(number, len(alphabet))
        found.append(int(alphabet[place]))
    return tuple(found)


def opened(plan: Plan, opening: tuple[int, ...], words: Sequence[str] = WORDS) -> Plan:
    """Returns the plan with these before the first prompt of each conversation."""
    if not opening:
        return plan
    return replace(
        plan, conversations=tuple(_opened(each, opening, words) for each in plan.conversations)
    )


def _opened(
    conversation: Conversation, opening: tuple[int, ...], words: Sequence[str]
) -> Conversation:
    """Opens its first turn, unless something was said before it, and each that puts other system
    messages to the front."""
    begins = 0 if not conversation.keeps_history else None
    turns = (
        _opened_turn(turn, opening, words) if number == begins or turn.replaces_system else turn
        for number, turn in enumerate(conversation.turns)
    )
    return replace(conversation, turns=tuple(turns))


def _opened_turn(turn: Turn, opening: tuple[int, ...], words: Sequence[str]) -> Turn:
    ids = turn.new_prompt_token_ids
    if len(ids):
        ids = np.concatenate([np.array(opening, dtype=np.int32), ids])
    return replace(
        turn,
        new_prompt_token_ids=ids,
        prompt_text=_opened_text(turn.prompt_text, opening, words),
        messages=_opened_messages(turn.messages, opening, words),
    )


def _opened_messages(
    messages: tuple[Message, ...], opening: tuple[int, ...], words: Sequence[str]
) -> tuple[Message, ...]:
    """Opens the first message. Tools before it are opened as well: some servers put them before
    what is said, others behind."""
    if not messages:
        return ()
    first, *others = messages
    num = first.num_tokens + len(opening)
    if first.role != TOOLS_ROLE:
        text = _opened_text(first.text, opening, words)
        return (replace(first, num_tokens=num, text=text), *others)
    text = _opened_tools(first.text or "[]", opening, words)
    said = [replace(each, text=_opened_text(each.text, opening, words)) for each in others[:1]]
    return (replace(first, num_tokens=num, text=text), *said, *others[1:])


def _opened_tools(tools: str, opening: tuple[int, ...], words: Sequence[str]) -> str:
    """Opens the description of the first tool."""
    found = json.loads(tools)
    function = found[0].get("function", found[0]) if found else {}
    function["description"] = _opened_text(str(function.get("description", "")), opening, words)
    return json.dumps(found, ensure_ascii=False)


def _opened_text(text: str | None, opening: tuple[int, ...], words: Sequence[str]) -> str | None:
    return None if text is None else f"{render_ids(opening, words).strip()}\n{text}"


def _alphabet(plan: Plan, num_words: int) -> TokenIds:
    """Ids that the plan uses, and that are different words too; in order."""
    prompts = [turn.new_prompt_token_ids for each in plan.conversations for turn in each.turns]
    ids = np.unique(np.concatenate([np.empty(0, dtype=np.int32), *prompts]))
    if not len(ids):  # real words only, which are never sent as ids
        ids = np.arange(num_words, dtype=np.int32)
    _, first = np.unique(ids % num_words, return_index=True)
    return np.sort(ids[first])
