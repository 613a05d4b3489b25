"""What in an answer says that it is none: the envelopes in which servers put an error, and the
finish reasons under which an answer is not whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from suite.driver.event_json import EventError, json_object

# As OpenAI, TGI, llama.cpp, Anthropic, Mistral, Cohere and Gemini name the end that the model chose
# and that of the length asked for. All others (abort, error, content_filter, cancelled, …) mean
# that something is missing.
_CHOSEN_ENDS = {"stop", "eos", "eos_token", "stop_token", "stop_sequence", "end_turn", "word"}
LENGTH_ENDS = {"length", "max_tokens", "max_length", "model_length", "limit"}
_OTHER_ENDS = {"tool_calls", "function_call", "tool_use", "complete", "completed"}
WHOLE_FINISH_REASONS = _CHOSEN_ENDS | LENGTH_ENDS | _OTHER_ENDS
_ERROR_FIELDS = ("error", "errors", "error_message", "error_msg", "exception")
_SELF_NAMES = ("object", "type", "status")  # that may be "error"
_WORDS = ("message", "msg", "detail", "error_message", "error_msg", "reason", "title")
_BARE_FIELDS = {"message", "msg", "code", "param"}  # an error's, where nothing else stands
_MIN_ERROR_CODE = 400


def fault_of(kind: str, chunk: Mapping[str, Any]) -> str | None:
    """Returns the server's words where an event, in whatever envelope, says that it is an error."""
    if "error" in kind.lower() or "exception" in kind.lower():
        return error_message(chunk)
    if any(chunk.get(name) for name in _ERROR_FIELDS):
        return error_message(chunk)
    if any(_is_error_name(chunk.get(name)) for name in _SELF_NAMES):
        return error_message(chunk)
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and any(choice.get(name) for name in _ERROR_FIELDS):
            return error_message(choice)
    if choices is None and _is_refusal(chunk):
        return error_message(chunk)
    return None


def _is_error_name(value: object) -> bool:
    return isinstance(value, str) and value.lower() in ("error", "failed", "failure")


def _is_refusal(chunk: Mapping[str, Any]) -> bool:
    """Returns whether it is FastAPI's `detail`, or a code with words, in an event that is no part
    of an answer."""
    if chunk.get("detail") or chunk.get("success") is False:
        return True
    code = chunk.get("code", chunk.get("status", chunk.get("status_code")))
    if isinstance(code, int) and code >= _MIN_ERROR_CODE:
        return True
    has_words = any(isinstance(chunk.get(name), str) for name in ("message", "msg"))
    return has_words and (isinstance(code, str) or chunk.keys() <= _BARE_FIELDS)


def unwhole(finish_reason: str) -> str | None:
    """Returns what to say of an answer that ended so; None where it is whole."""
    if finish_reason.lower() in WHOLE_FINISH_REASONS:
        return None
    return f"the server ended the answer with finish_reason {finish_reason!r}"


def error_message(body: Any) -> str:
    """Returns the words of OpenAI's `{"error": {"message": …}}`, or of the variants of servers."""
    found, field = body, None
    for _ in range(4):  # envelopes lie in each other
        inner = _inner(found)
        if inner is None:
            break
        field = field or _field_of(found)
        found = inner
    words = found if isinstance(found, str) else orjson.dumps(found, default=str).decode()
    return words if field is None or field in words else f"{field}: {words}"


def _field_of(body: Any) -> str | None:
    """Returns the request's field that an error is about: FastAPI's `loc`, OpenAI's `param`."""
    if not isinstance(body, dict):
        return None
    place = body.get("loc")
    names = [each for each in place if isinstance(each, str)] if isinstance(place, list) else []
    param = body.get("param")
    return names[-1] if names else param if isinstance(param, str) and param else None


def _inner(body: Any) -> Any:
    if isinstance(body, list) and len(body) == 1:
        return body[0]
    if not isinstance(body, dict):
        return None
    fields = (*_ERROR_FIELDS, *_WORDS)
    told = [body[name] for name in fields if body.get(name) and body[name] is not True]
    # A word beside the words (`"error": "Bad Request", "message": "too long"`) says less than they.
    return max(told, key=_num_words, default=None)


def _num_words(value: Any) -> int:
    if isinstance(value, str):
        return len(value.split())
    return 1_000 if isinstance(value, dict | list) else 0


def body_message(body: bytes) -> str:
    """Returns what a response that is no stream, or an event named `error`, says: the words of its
    JSON, or itself."""
    try:
        return error_message(json_object(body))
    except EventError:
        return body.decode(errors="replace")
