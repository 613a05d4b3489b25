"""ShareGPT: token counts a turn (csv), or the conversations themselves (json).

The csv has one row a turn, `conv_id, turn, new_prompt_tokens, output_tokens` and, if it likes,
`context_tokens` (the whole prompt, history included). The flat public form of project-etalon,
`num_prefill_tokens, num_decode_tokens`, is linked here: a row continues the conversation of the
row before it exactly when its prefill exceeds that row's prefill and decode together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from workloads.errors import TraceError
from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.files import Row, csv_rows, opened

TURNS_SOURCE = (
    "ShareGPT turn lengths: github.com/project-etalon/etalon, data/processed_traces "
    "(see docs/workloads.md, Traces)"
)
JSON_SOURCE = (
    "ShareGPT json: e.g. ShareGPT_V3_unfiltered_cleaned_split.json from Hugging Face "
    "(see docs/workloads.md, Traces)"
)
LINKED = ("conv_id", "turn", "new_prompt_tokens", "output_tokens")
FLAT = ("num_prefill_tokens", "num_decode_tokens")
LONG_LATER_PROMPT = 1024
CHARACTERS_PER_TOKEN = 4
PROMPT_SPEAKERS = frozenset({"human", "user"})
ANSWER_SPEAKERS = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard"})


def read_sharegpt_turns(path: Path, tally: Tally) -> list[ConversationShape]:
    conversations: list[list[TurnShape]] = []
    linked = _Linker()
    for row in csv_rows(path, TURNS_SOURCE, (LINKED, FLAT)):
        turn, is_first = linked.turn(row, tally)
        if is_first:
            conversations.append([])
        elif turn.num_new_prompt_tokens > LONG_LATER_PROMPT:
            tally[f"later prompts over {LONG_LATER_PROMPT} tokens (may hold a dropped turn)"] += 1
        conversations[-1].append(turn)
    return [ConversationShape(turns=tuple(turns)) for turns in conversations]


@dataclass(slots=True)
class _Linker:
    """Which row belongs to which conversation; holds what the row before it left behind."""

    conversation: str | None = None
    num_turns: int = 0
    context: int = 0  # tokens after the previous row's answer

    def turn(self, row: Row, tally: Tally) -> tuple[TurnShape, bool]:
        is_flat = "conv_id" not in row.values
        turn, is_first = self._flat(row) if is_flat else self._linked(row, tally)
        self.context = (0 if is_first else self.context) + turn.num_tokens
        return turn, is_first

    def _flat(self, row: Row) -> tuple[TurnShape, bool]:
        prefill, output = row.integer(FLAT[0], 1), row.integer(FLAT[1], 1)
        is_first = prefill <= self.context or self.context == 0
        new = prefill if is_first else prefill - self.context
        return TurnShape(num_new_prompt_tokens=new, num_output_tokens=output), is_first

    def _linked(self, row: Row, tally: Tally) -> tuple[TurnShape, bool]:
        number, conversation = row.integer("turn", 1), row.text("conv_id")
        is_first = conversation != self.conversation
        expected = 1 if is_first else self.num_turns + 1
        if number != expected:
            raise row.error(f"turn must be {expected} in conversation {conversation}, got {number}")
        self.conversation, self.num_turns = conversation, number
        turn = TurnShape(
            num_new_prompt_tokens=row.integer("new_prompt_tokens", 1),
            num_output_tokens=row.integer("output_tokens", 1),
        )
        history = 0 if is_first else self.context
        if "context_tokens" in row.values:
            context = row.integer("context_tokens", 1)
            if context != history + turn.num_new_prompt_tokens:
                tally["turns whose context_tokens is not history + new prompt (not used)"] += 1
        return turn, is_first


def read_sharegpt_json(path: Path, tally: Tally) -> list[ConversationShape]:
    """Returns conversations of real words. Without a tokenizer token counts are estimated from the
    characters."""
    with opened(path, JSON_SOURCE) as text:
        try:
            items = json.load(text)
        except json.JSONDecodeError as error:
            raise TraceError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(items, list):
        raise TraceError(f"{path}:1: must be a list of conversations, got {type(items).__name__}")
    conversations = []
    for number, item in enumerate(items):
        turns = _text_turns(_messages(f"{path}: item {number}", item), tally)
        if turns:
            conversations.append(ConversationShape(turns=turns))
        else:
            tally["conversations without a question and its answer (skipped)"] += 1
    tally[f"turns with lengths estimated at {CHARACTERS_PER_TOKEN} characters a token"] += sum(
        len(conversation.turns) for conversation in conversations
    )
    return conversations


def _messages(where: str, item: Any) -> list[tuple[str, str]]:
    """Returns (speaker, words) pairs in order. Raises TraceError."""
    messages = item.get("conversations") if isinstance(item, dict) else None
    if not isinstance(messages, list):
        raise TraceError(f"{where}: must be {{conversations: [{{from, value}}, …]}}")
    pairs = []
    for message in messages:
        pair = (message.get("from"), message.get("value")) if isinstance(message, dict) else ()
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise TraceError(f"{where}: each message must have text in `from` and `value`")
        pairs.append((str(pair[0]), str(pair[1])))
    return pairs


def _text_turns(messages: Iterable[tuple[str, str]], tally: Tally) -> tuple[TurnShape, ...]:
    """Returns the turns of a conversation. A turn is a question directly followed by its answer;
    anything else is counted."""
    turns: list[TurnShape] = []
    question: str | None = None
    for speaker, words in messages:
        if speaker in ANSWER_SPEAKERS and question is not None and words:
            turns.append(_text_turn(question, words))
            question = None
            continue
        if speaker in PROMPT_SPEAKERS and words:
            unanswered, question = question, _printable(words)
        else:
            unanswered = words
        if unanswered is not None:
            tally["messages that are not a question with its answer (skipped)"] += 1
    if question is not None:
        tally["messages that are not a question with its answer (skipped)"] += 1
    return tuple(turns)


def _text_turn(question: str, answer: str) -> TurnShape:
    return TurnShape(
        num_new_prompt_tokens=ceil(len(question) / CHARACTERS_PER_TOKEN),
        num_output_tokens=ceil(len(answer) / CHARACTERS_PER_TOKEN),
        prompt_text=question,
    )


def _printable(words: str) -> str:
    """Returns the text with U+FFFD for halves of a surrogate pair, which JSON may hold and which
    are no valid text."""
    return words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
