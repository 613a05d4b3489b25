"""A conversation's side of the API: the history as the engine will see it.

The history is the server's own: what it really answered, not what the plan expected. It is kept as
the JSON it is sent as, so that a next request costs no more than what was said last.
"""

from __future__ import annotations

import numpy as np
import orjson

from engines.api import Endpoint
from suite.driver.answer import Answer
from suite.driver.event_json import whole_text
from suite.driver.words import render
from workloads.plan_parts import Turn


class PromptError(Exception):
    """This endpoint cannot be asked this turn. One line."""


class History:
    """Everything said so far in one conversation."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._is_token_ids = endpoint.prompt_form == "token_ids"
        self._is_chat = endpoint.api == "chat"
        self._said = bytearray()  # JSON, without what encloses it
        self._expected: tuple[Turn, bytes] | None = None

    @property
    def field(self) -> str:
        """In which field of a request it stands."""
        return "messages" if self._is_chat else "prompt"

    def json(self) -> bytes:
        """That field's value."""
        is_list = self._is_chat or self._is_token_ids
        said = bytes(self._said)
        return b"[%b]" % said if is_list else b'"%b"' % said

    def expect(self, turn: Turn) -> None:
        """Prepares what `ask` will need."""
        if len(turn.new_prompt_token_ids) or not self._is_token_ids:
            self._expected = turn, self._asked(turn)

    def ask(self, turn: Turn) -> None:
        """Raises PromptError."""
        if self._expected is not None and self._expected[0] is turn:
            self._add(self._expected[1])
        else:
            self._add(self._asked(turn))
        self._expected = None

    def hear(self, answer: Answer) -> None:
        """Raises PromptError."""
        if self._is_token_ids:
            if not answer.has_token_ids:
                raise PromptError(
                    "the server returned no token ids, so the history cannot be continued; "
                    "use `prompt_form: text`"
                )
            self._add(orjson.dumps(answer.token_ids)[1:-1])
        else:
            self._add(self._spoken("assistant", whole_text(answer.text)))

    def _asked(self, turn: Turn) -> bytes:
        """Raises PromptError."""
        if not self._is_token_ids:
            text = turn.prompt_text if turn.prompt_text is not None else render(turn)
            return self._spoken("user", text)
        if not len(turn.new_prompt_token_ids):
            raise PromptError("the turn has text but no token ids; use `api: chat` for it")
        ids = np.ascontiguousarray(turn.new_prompt_token_ids)
        return orjson.dumps(ids, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]

    def _spoken(self, role: str, text: str) -> bytes:
        if self._is_chat:
            return orjson.dumps({"role": role, "content": text})
        return orjson.dumps(text)[1:-1]

    def _add(self, said: bytes) -> None:
        if self._said and said and (self._is_chat or self._is_token_ids):
            self._said += b","
        self._said += said
