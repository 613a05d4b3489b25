"""A conversation's side of the API: the history as the engine will see it.

The history is the server's own: what it really answered, not what the plan expected. It is kept as
the JSON it is sent as, so that a next request costs no more than what was said last.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import numpy as np
import orjson

from engines.api import Endpoint
from suite.driver.answer import Answer
from suite.driver.event_json import whole_text
from suite.driver.messages import (
    chat_messages,
    fields_for_answer,
    message_json,
    plain_texts,
    tools_of,
)
from workloads.plan_parts import TokenIds, Turn


class PromptError(Exception):
    """This endpoint cannot be asked this turn. One line."""


class History:
    """Everything said so far in one conversation."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._is_token_ids = endpoint.prompt_form == "token_ids"
        self._is_chat = endpoint.api == "chat"
        self.tools: str | None = None  # JSON, where they are no part of what is said
        self._said = bytearray()  # JSON, without what encloses it
        self._num_front_bytes = 0  # of it, the system messages that it begins with
        self._num_asked_bytes = 0  # of it, what was said when the last turn was asked
        self._expected: tuple[Turn, _Asked] | None = None

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
            asked = self._expected[1]
        else:
            asked = self._asked(turn)
        self._expected = None
        if self._is_chat:
            self.tools = tools_of(turn) or self.tools
        if turn.replaces_system:  # what was said after it stays
            said = self._said[self._num_front_bytes :].removeprefix(b",")
            self._said.clear()
            self._begin(asked.front)
            self._add(bytes(said))
        elif self._said:
            self._add(asked.front)
        else:
            self._begin(asked.front)
        self._add(asked.rest)
        self._num_asked_bytes = len(self._said)

    def branched(self, answer: Answer, following: Turn) -> History:
        """Returns a history of its own that goes on from the last turn and its answer. Raises
        PromptError."""
        other = copy(self)
        other._said = self._said[: self._num_asked_bytes]
        other._expected = None
        other.hear(answer, following)
        return other

    def hear(self, answer: Answer, following: Turn | None = None) -> None:
        """Adds the answer, with what the turn that follows says of it. Raises PromptError."""
        if self._is_token_ids:
            if not answer.has_token_ids:
                raise PromptError(
                    "the server returned no token ids, so the history cannot be continued; "
                    "use `prompt_form: text`"
                )
            self._add(orjson.dumps(answer.token_ids)[1:-1])
            return
        text = whole_text(answer.text)
        if self._is_chat:
            self._add(message_json("assistant", text, fields_for_answer(following)))
        else:
            self._add(_inside(text))

    def _asked(self, turn: Turn) -> _Asked:
        """Raises PromptError."""
        if self._is_chat:
            return _Asked(*map(b",".join, chat_messages(turn)))
        if not self._is_token_ids:
            return _Asked(*map(_inside, plain_texts(turn)))
        if not len(turn.new_prompt_token_ids):
            raise PromptError("the turn has text but no token ids; use `api: chat` for it")
        ids, place = turn.new_prompt_token_ids, turn.num_front_tokens
        return _Asked(_ids_json(ids[:place]), _ids_json(ids[place:]))

    def _begin(self, front: bytes) -> None:
        self._add(front)
        self._num_front_bytes = len(front)

    def _add(self, said: bytes) -> None:
        if self._said and said and (self._is_chat or self._is_token_ids):
            self._said += b","
        self._said += said


class _Asked(NamedTuple):
    """What a turn adds, as JSON without what encloses it."""

    front: bytes  # the system messages that it begins with
    rest: bytes


def _inside(text: str) -> bytes:
    return orjson.dumps(text)[1:-1]


def _ids_json(token_ids: TokenIds) -> bytes:
    ids = np.ascontiguousarray(token_ids)
    return orjson.dumps(ids, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
