"""A conversation's side of the API: the history as the engine will see it, and request bodies.

The history is the server's own: what it really answered, not what the plan expected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from engines.api import Endpoint
from suite.driver.answer import Answer
from suite.driver.pool import Target
from suite.driver.words import render
from workloads.plan_parts import TokenIds, Turn


class PromptError(Exception):
    """This endpoint cannot be asked this turn. One line."""


class History:
    """Everything said so far in one conversation."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._is_token_ids = endpoint.prompt_form == "token_ids"
        self._is_chat = endpoint.api == "chat"
        self._token_ids: TokenIds = np.empty(0, dtype=np.int32)
        self._text = ""
        self._messages: list[dict[str, str]] = []

    def ask(self, turn: Turn) -> None:
        """Raises PromptError."""
        if self._is_token_ids:
            if not len(turn.new_prompt_token_ids):
                raise PromptError("the turn has text but no token ids; use `api: chat` for it")
            self._token_ids = np.concatenate([self._token_ids, turn.new_prompt_token_ids])
            return
        text = turn.prompt_text if turn.prompt_text is not None else render(turn)
        if self._is_chat:
            self._messages.append({"role": "user", "content": text})
        else:
            self._text += text

    def hear(self, answer: Answer) -> None:
        """Raises PromptError."""
        if self._is_token_ids:
            if not answer.has_token_ids:
                raise PromptError(
                    "the server returned no token ids, so the history cannot be continued; "
                    "use `prompt_form: text`"
                )
            heard = np.asarray(answer.token_ids, dtype=np.int32)
            self._token_ids = np.concatenate([self._token_ids, heard])
        elif self._is_chat:
            self._messages.append({"role": "assistant", "content": "".join(answer.text)})
        else:
            self._text += "".join(answer.text)

    def fields(self) -> dict[str, Any]:
        if self._is_chat:
            return {"messages": self._messages}
        return {"prompt": self._token_ids if self._is_token_ids else self._text}


class RequestWriter:
    """Whole HTTP requests for one endpoint, ready for the socket."""

    def __init__(self, endpoint: Endpoint, target: Target) -> None:
        self._endpoint = endpoint
        path = "/chat/completions" if endpoint.api == "chat" else "/completions"
        key = f"Authorization: Bearer {endpoint.api_key}\r\n" if endpoint.api_key else ""
        self._head = (
            f"POST {target.path}{path} HTTP/1.1\r\nHost: {target.host_header}\r\n"
            f"Content-Type: application/json\r\nAccept: text/event-stream\r\n"
            f"User-Agent: fsbench\r\n{key}Content-Length: "
        ).encode()

    def write(
        self, history: History, turn: Turn, *, conversation_id: str, priority: int | None
    ) -> bytes:
        endpoint = self._endpoint
        body: dict[str, Any] = {
            "model": endpoint.model,
            **history.fields(),
            "max_tokens": turn.num_output_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if endpoint.is_fsbench:
            body |= {"conversation_id": conversation_id, "ignore_eos": True}
        if endpoint.is_fsbench or endpoint.prompt_form == "token_ids":
            body["return_token_ids"] = True
        if priority is not None:
            body["priority"] = priority
        body |= endpoint.extra_body
        if endpoint.names_conversation:
            xargs = {**body.get("vllm_xargs", {}), "conversation_id": conversation_id}
            body["vllm_xargs"] = xargs
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        return b"%s%d\r\n\r\n%s" % (self._head, len(content), content)
