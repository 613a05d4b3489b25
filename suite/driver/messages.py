"""A turn as what is sent: chat messages in JSON, or the text of them all."""

from __future__ import annotations

import json
from typing import Any

import orjson

from suite.driver.words import render, render_ids
from workloads.plan_parts import TOOLS_ROLE, Message, TokenIds, Turn


def chat_messages(turn: Turn) -> tuple[list[bytes], list[bytes]]:
    """Returns each message as JSON: those that go to the front, and the others. What defines tools
    or joins the answer before is no message."""
    if not turn.messages:
        text = render(turn) if turn.prompt_text is None else turn.prompt_text
        return [], [message_json("user", text)]
    front: list[bytes] = []
    others: list[bytes] = []
    num_front = len(turn.front)
    for number, (message, ids) in enumerate(turn.spans()):
        if message.role != TOOLS_ROLE and not message.joins_answer:
            said = message_json(message.role, _words(message, ids), message.fields)
            (front if number < num_front else others).append(said)
    return front, others


def message_json(role: str, content: str, fields: str | None = None) -> bytes:
    more: dict[str, Any] = orjson.loads(fields) if fields else {}
    return orjson.dumps({"role": role, "content": content, **more})


def fields_for_answer(turn: Turn | None) -> str | None:
    """Returns what this turn says of the answer before it, where it does."""
    if turn is None or not turn.messages or not turn.messages[0].joins_answer:
        return None
    return turn.messages[0].fields


def plain_texts(turn: Turn) -> tuple[str, str]:
    """Returns the words for a server that takes no messages: of the system messages in front, and
    of the others."""
    if not turn.messages:
        return "", render(turn) if turn.prompt_text is None else turn.prompt_text
    texts = [_plain(message, ids) for message, ids in turn.spans()]
    front = len(turn.front)
    return "".join(texts[:front]), "".join(texts[front:])


def _plain(message: Message, ids: TokenIds) -> str:
    """Returns real words on lines of their own; words for token ids need none, for each begins with
    a space."""
    if message.text is None:
        return render_ids(ids)
    calls = f"{message.fields}\n" if message.joins_answer else ""
    return f"{message.text}\n{calls}" if message.text else calls


def _words(message: Message, ids: TokenIds) -> str:
    return render_ids(ids) if message.text is None else message.text


def tools_of(turn: Turn) -> str | None:
    """Returns the tools that the turn defines, as JSON; None where it defines none."""
    return next((each.text for each in turn.messages if each.role == TOOLS_ROLE), None)


def tools_fields(tools: str | None) -> dict[str, Any]:
    """Returns a request's fields for tools. None may be called: the calls and their results are the
    plan's, and so is the answer's length."""
    return {} if tools is None else {"tools": json.loads(tools), "tool_choice": "none"}
