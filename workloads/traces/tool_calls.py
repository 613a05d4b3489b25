"""Tools that a conversation defines, and calls of them: as JSON that is sent as it is."""

from __future__ import annotations

import json
from typing import Any

from workloads.plan_parts import TOOLS_ROLE, Message
from workloads.traces.files import Row
from workloads.traces.spoken import estimated_tokens, printable

CALL_FIELDS = ("tool_calls", "function_call")


def calls_of(message: Row) -> str:
    """Returns the tool calls of an answer as JSON; empty where there are none."""
    calls = {key: values for key in CALL_FIELDS if (values := message.values.get(key))}
    return printable(json.dumps(_callable(calls), ensure_ascii=False)) if calls else ""


def joining(calls: str) -> Message:
    """Returns what puts calls to an answer: that is the server's own, but the calls whose results
    are said next are the file's."""
    return Message(
        role="assistant",
        num_tokens=estimated_tokens(calls),
        text="",
        fields=calls,
        joins_answer=True,
    )


def _callable(calls: dict[str, Any]) -> dict[str, Any]:
    """Returns tool calls as the API wants them: their arguments are JSON in a string."""

    def with_text(call: Any) -> Any:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or isinstance(function.get("arguments"), str):
            return call
        text = json.dumps(function.get("arguments", {}), ensure_ascii=False)
        return {"type": "function", **call, "function": {**function, "arguments": text}}

    if isinstance(calls.get("tool_calls"), list):
        return {**calls, "tool_calls": [with_text(call) for call in calls["tool_calls"]]}
    return calls


def tools_of(row: Row) -> list[Message]:
    tools = row.values.get("tools")
    if not tools:
        return []
    if not isinstance(tools, list) or not all(isinstance(each, dict) for each in tools):
        raise row.error("tools must be a list of objects")
    text = printable(json.dumps(tools, ensure_ascii=False))
    return [Message(role=TOOLS_ROLE, num_tokens=estimated_tokens(text), text=text)]
