"""A plan's prompts in words, as many as make the planned tokens for one server's tokenizer.

Equal prefixes stay equal: a prompt's n-th word comes from the same of its token ids in each prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from suite.driver.words import WORDS, render_ids
from suite.records.prompt_lengths import PromptLengths
from workloads.plan import Plan
from workloads.plan_parts import TOOLS_ROLE, Conversation, Message, TokenIds, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    lengths: PromptLengths
    words: tuple[str, ...] = tuple(WORDS)

    def text(self, token_ids: TokenIds, *, is_first: bool) -> str:
        """Returns words for the ids of a turn's first message, each after a space."""
        return self._words(token_ids, self.lengths.num_words_for(len(token_ids), is_first=is_first))

    def text_beside(self, token_ids: TokenIds) -> str:
        """Returns words for the ids of another message of a turn, likewise."""
        return self._words(token_ids, self.lengths.num_words_beside(len(token_ids)))

    def _words(self, token_ids: TokenIds, num: int) -> str:
        step, last = self.lengths.tokens_per_word, len(token_ids) - 1
        ids = (token_ids[min(int(place * step), last)] for place in range(num))
        return render_ids(ids, self.words)


def worded(plan: Plan, wording: Wording | None) -> Plan:
    """Returns the plan with words in place of token ids, where it has no words of its own."""
    if wording is None:
        return plan
    return replace(plan, conversations=tuple(_worded(each, wording) for each in plan.conversations))


def _worded(conversation: Conversation, wording: Wording) -> Conversation:
    turns = [
        _worded_turn(turn, wording, is_first=not number and not conversation.keeps_history)
        for number, turn in enumerate(conversation.turns)
    ]
    return replace(conversation, turns=tuple(turns))


def _worded_turn(turn: Turn, wording: Wording, *, is_first: bool) -> Turn:
    if turn.messages:
        return replace(turn, messages=tuple(_worded_messages(turn, wording, is_first=is_first)))
    if turn.prompt_text is not None or not len(turn.new_prompt_token_ids):
        return turn
    return replace(turn, prompt_text=wording.text(turn.new_prompt_token_ids, is_first=is_first))


def _worded_messages(turn: Turn, wording: Wording, *, is_first: bool) -> Iterator[Message]:
    """Yields a turn's messages with words in place of token ids."""
    for number, (message, ids) in enumerate(turn.spans()):
        if message.text is None and len(ids) and message.role != TOOLS_ROLE:
            text = wording.text_beside(ids) if number else wording.text(ids, is_first=is_first)
            yield replace(message, text=text)
        else:
            yield message
