"""ShareGPT: the conversations themselves, in JSON: an array of them, or one a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workloads.errors import TraceError
from workloads.plan_parts import Message
from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.json_items import json_items
from workloads.traces.spoken import ESTIMATED, estimated_tokens, spoken, turn_of

SOURCE = (
    "ShareGPT json: e.g. ShareGPT_V3_unfiltered_cleaned_split.json from Hugging Face "
    "(see docs/workloads.md, Traces)"
)
SYSTEM_SPEAKERS = frozenset({"system"})
PROMPT_SPEAKERS = frozenset({"human", "user"})
ANSWER_SPEAKERS = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard"})
EMPTY = "conversations without a question and its answer (skipped)"
ALONE = "messages that are not a question with its answer (skipped)"


def read_sharegpt_json(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    """Yields conversations of real words. Without a tokenizer token counts are estimated from the
    characters."""
    for where, item in json_items(path, SOURCE):
        turns = _turns(_messages(where, item), tally)
        tally[ESTIMATED] += len(turns)
        if turns:
            yield ConversationShape(turns=turns)
        else:
            tally[EMPTY] += 1


def _messages(where: str, item: Any) -> list[tuple[str, str]]:
    """Returns (speaker, words) pairs in order. Raises TraceError."""
    messages = item.get("conversations") if isinstance(item, dict) else None
    if not isinstance(messages, list):
        raise TraceError(f"{where}: must be {{conversations: [{{from, value}}, …]}}")
    system = item.get("system")
    pairs = [("system", system)] if isinstance(system, str) and system else []
    for message in messages:
        pair = (message.get("from"), message.get("value")) if isinstance(message, dict) else ()
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise TraceError(f"{where}: each message must have text in `from` and `value`")
        pairs.append((str(pair[0]), str(pair[1])))
    return pairs


def _turns(messages: list[tuple[str, str]], tally: Tally) -> tuple[TurnShape, ...]:
    """Returns the turns of a conversation. A turn is a question and the answer that follows it,
    with the system prompt before the question; anything else is counted."""
    turns: list[TurnShape] = []
    system: Message | None = None
    question: Message | None = None
    for speaker, words in messages:
        if speaker in ANSWER_SPEAKERS and question is not None and words:
            asked = [question] if system is None else [system, question]
            turns.append(turn_of(asked, estimated_tokens(words)))
            system = question = None
        elif speaker in PROMPT_SPEAKERS and words:
            tally[ALONE] += question is not None
            question = spoken("user", words)
        elif speaker in SYSTEM_SPEAKERS and words and question is None:
            tally[ALONE] += system is not None
            system = spoken("system", words)
        else:
            tally[ALONE] += 1
    tally[ALONE] += sum(each is not None for each in (system, question))
    return tuple(turns)
