"""Text to token ids and back: what the server needs of a model besides its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

from engines.serving.chat_template import CHATML, PLAIN, ChatTemplate

REPLACEMENT = "\ufffd"  # what an incomplete UTF-8 sequence decodes to


class Tokenizer:
    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        eos_token_ids: frozenset[int],
        chat_template: str | None = None,
        special_tokens: Mapping[str, str] | None = None,
    ) -> None:
        """Makes a tokenizer that can write chats. `special_tokens`: what the template may name, as
        {"bos_token": "<s>", …}.

        Without a template, ChatML where the vocabulary has its marks, else `role: text` lines.
        """
        self.backend = backend
        self.eos_token_ids = eos_token_ids
        if chat_template is None:
            chat_template = PLAIN if backend.token_to_id("<|im_start|>") is None else CHATML
        self._chat_template = ChatTemplate(chat_template, special_tokens=special_tokens or {})

    @property
    def vocab_size(self) -> int:
        """Returns how many ids the tokenizer knows; a model's embedding may be larger (padding),
        never smaller."""
        return self.backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Returns the text's ids, with the model's beginning-of-sequence token where its tokenizer
        adds one."""
        return self.backend.encode(text).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """Returns the text without special tokens; bytes that are no UTF-8 become U+FFFD."""
        return self.backend.decode(token_ids)

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Returns the ids of a chat; messages: [{"role": …, "content": text}]. Raises
        ChatTemplateError."""
        text = self._chat_template.render(messages)
        return self.backend.encode(text, add_special_tokens=False).ids


class Detokenizer:
    """Text of a growing token sequence, piece by piece: never half a character.

    The pieces of all pushes and of `finish` concatenate to `decode` of all ids. Each piece is
    decoded after the tokens of the piece before, since some decoders treat a first token apart.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []  # tokens of the last piece, then those not yet emitted
        self._num_emitted = 0  # of the window

    def push(self, token_ids: Sequence[int]) -> str:
        self._window.extend(token_ids)
        piece = self._pending_text()
        if not piece or piece.endswith(REPLACEMENT):  # the rest of a character may follow
            return ""
        del self._window[: self._num_emitted]
        self._num_emitted = len(self._window)
        return piece

    def finish(self) -> str:
        """Returns what was held back, now that nothing follows."""
        piece = self._pending_text()
        self._window.clear()
        self._num_emitted = 0
        return piece

    def _pending_text(self) -> str:
        emitted = self._tokenizer.decode(self._window[: self._num_emitted])
        return self._tokenizer.decode(self._window)[len(emitted) :]
