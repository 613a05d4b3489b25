"""Words of a trace as turns. Without a tokenizer their lengths are estimates, and said to be."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from workloads.plan_parts import Message
from workloads.shapes import TurnShape

CHARACTERS_PER_TOKEN = 4
ESTIMATED = f"turns with lengths estimated at {CHARACTERS_PER_TOKEN} characters a token"


def estimated_tokens(text: str) -> int:
    return ceil(len(text) / CHARACTERS_PER_TOKEN)


def printable(words: str) -> str:
    """Returns the text with U+FFFD for halves of a surrogate pair, which JSON may hold and which
    are no valid text."""
    return words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def spoken(role: str, words: str) -> Message:
    text = printable(words)
    return Message(role=role, num_tokens=estimated_tokens(text), text=text)


def turn_of(messages: Sequence[Message], num_output_tokens: int) -> TurnShape:
    """Returns a turn that says these. One plain question is no list of messages."""
    num_tokens = sum(each.num_tokens for each in messages)
    first = messages[0]
    if len(messages) == 1 and first.role == "user" and first.fields is None:
        return TurnShape(
            num_new_prompt_tokens=num_tokens,
            num_output_tokens=num_output_tokens,
            prompt_text=first.text,
        )
    return TurnShape(
        num_new_prompt_tokens=num_tokens,
        num_output_tokens=num_output_tokens,
        messages=tuple(messages),
    )
