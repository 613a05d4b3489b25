"""How planned tokens were made words for one server's tokenizer, as a trial records it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

# What told the tokens of a word: the server's usage, its `/tokenize`, a tokenizer's file; or
# nothing did, and a word was sent for each token.
CountedFrom = Literal["usage", "tokenize", "file", "none"]


class PromptLengths(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    by: CountedFrom
    tokens_per_word: float = 1.0
    first_tokens: int = 0  # that the server puts to a conversation's first prompt: its template
    later_tokens: int = 0  # … to a later one
    beside_tokens: int = 0  # … to each message of a turn but its first: a user's after a system's
    num_words: int  # that prompts are made of
    note: str | None = None  # why nothing was measured

    def num_words_for(self, num_tokens: int, *, is_first: bool) -> int:
        """Returns how many words make a prompt of so many tokens, the server's own included; one at
        least."""
        return self._num_words(num_tokens, self.first_tokens if is_first else self.later_tokens)

    def num_words_beside(self, num_tokens: int) -> int:
        """Returns the same for a message that is not the first of its turn."""
        return self._num_words(num_tokens, self.beside_tokens)

    def num_tokens_of(self, num_tokens: int, *, is_first: bool) -> int:
        """Returns the tokens of those words alone."""
        words = self.num_words_for(num_tokens, is_first=is_first)
        return int(words * self.tokens_per_word)

    def _num_words(self, num_tokens: int, own: int) -> int:
        return max(1, round((num_tokens - own) / self.tokens_per_word))
