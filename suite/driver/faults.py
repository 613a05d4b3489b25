"""What in an answer says that it is none: the envelopes in which servers put an error, and the
finish reasons under which an answer is not whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from suite.driver.event_json import EventError, json_object

# As OpenAI, TGI, llama.cpp, Anthropic, Mistral, Cohere and Gemini name the end that the model chose
# and that of the length asked for. All others (abort, error, content_filter, cancelled, …) mean
# that something is missing.
_CHOSEN_ENDS = {"stop", "eos", "eos_token", "stop_token", "stop_sequence", "end_turn", "word"}
_CHOSEN_ENDS |= {"end_of_text", "end_of_turn", "eos_token_id", "stop_str", "stop_word"}
LENGTH_ENDS = {"length", "max_tokens", "max_length", "model_length", "limit"}
LENGTH_ENDS |= {"max_new_tokens", "max_output_tokens", "max_completion_tokens"}
_OTHER_ENDS = {"tool_calls", "tool_call", "function_call", "tool_use", "complete", "completed"}
WHOLE_FINISH_REASONS = _CHOSEN_ENDS | LENGTH_ENDS | _OTHER_ENDS
_NO_ENDS = {"", "null", "none"}  # how some say that it goes on
# Names are compared in small letters without `_`, `-`: `error_message`, `errorMessage`, `Error`.
_ERROR_FIELDS = {"error", "errors", "errormessage", "errormsg", "errmsg", "err", "exception"}
_ERROR_FIELDS |= {"fault", "traceback"}
_ERROR_ENDINGS = ("error", "exception")  # of a field's name, as AWS's internalServerException
_CODE_FIELDS = ("code", "errorcode", "errcode", "statuscode", "httpstatus", "status")
_ENVELOPES = ("response", "base_resp", "data", "result")  # in which a whole error may lie
_SELF_NAMES = ("object", "type", "status")  # that may be "error"
_WORDS = {"message", "msg", "detail", "reason", "title", "statusmsg", "faultstring"}
_BARE_FIELDS = {"message", "msg", "code", "param"}  # an error's, where nothing else stands
_MIN_ERROR_CODE = 400


def is_error_kind(kind: str) -> bool:
    """Returns whether an event's name says that it is an error."""
    return any(word in kind.lower() for word in ("error", "exception", "fail"))


def fault_of(kind: str, chunk: Mapping[str, Any]) -> str | None:
    """Returns the server's words where an event, in whatever envelope, says that it is an error."""
    if is_error_kind(kind) or _has_error_field(chunk):
        return error_message(chunk)
    if any(_is_error_name(chunk.get(name)) for name in _SELF_NAMES):
        return error_message(chunk)
    choices = chunk.get("choices")
    for part in _parts_of(choices):
        if _has_error_field(part):
            return error_message(part)
    if not choices and _is_refusal(chunk):
        return error_message(chunk)
    inner = [chunk[name] for name in _ENVELOPES if isinstance(chunk.get(name), dict)]
    return next((error_message(each) for each in inner if _says_error(each)), None)


def _parts_of(choices: Any) -> Iterator[Mapping[str, Any]]:
    """Yields each choice and what it adds."""
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield choice
            yield from (choice[name] for name in ("delta", "message") if _is_dict(choice, name))


def _is_dict(holder: Mapping[str, Any], name: str) -> bool:
    return isinstance(holder.get(name), dict)


def _says_error(inner: Mapping[str, Any]) -> bool:
    code = _code(inner)
    return _has_error_field(inner) or (isinstance(code, int) and code >= _MIN_ERROR_CODE)


def _has_error_field(holder: Mapping[str, Any]) -> bool:
    return any(_plain(name) in _ERROR_FIELDS and not _is_empty(holder[name]) for name in holder)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _is_empty(value: Any) -> bool:
    """Returns whether nothing is said, to any depth: some servers write the fields of an error
    that there is not."""
    if isinstance(value, dict):
        return all(_is_empty(each) for each in value.values())
    return not value


def _is_error_name(value: object) -> bool:
    if not isinstance(value, str):
        return False
    plain = _plain(value)
    return plain in ("failed", "failure") or plain.startswith("error") or plain.endswith("error")


def _code(holder: Mapping[str, Any]) -> object:
    """Returns an error's code: a number where it is one, also in quotes."""
    told = {_plain(name): value for name, value in holder.items() if value is not None}
    code = next((told[name] for name in _CODE_FIELDS if name in told), None)
    return int(code) if isinstance(code, str) and code.isdecimal() else code


def _is_refusal(chunk: Mapping[str, Any]) -> bool:
    """Returns whether it is FastAPI's `detail`, or a code with words, in an event that is no part
    of an answer."""
    if chunk.get("success") is False or any(
        _plain(name).endswith(_ERROR_ENDINGS) and not _is_empty(chunk[name]) for name in chunk
    ):
        return True
    code = _code(chunk)
    if isinstance(code, int):
        return code >= _MIN_ERROR_CODE or bool(chunk.keys() & {"error_code", "errcode"} and code)
    if chunk.get("usage"):
        return False
    names = {_plain(name) for name in chunk}
    has_code = bool(names & set(_CODE_FIELDS[:4])) and isinstance(code, str)
    return bool(chunk.get("detail")) or (
        any(isinstance(chunk[name], str) and _plain(name) in ("message", "msg") for name in chunk)
        and (has_code or names <= _BARE_FIELDS)
    )


def unwhole(finish_reason: str) -> str | None:
    """Returns what to say of an answer that ended so; None where it is whole."""
    if _end(finish_reason) in WHOLE_FINISH_REASONS:
        return None
    return f"the server ended the answer with finish_reason {finish_reason!r}"


def is_end(finish_reason: str) -> bool:
    """Returns whether it ends the answer at all."""
    return _end(finish_reason) not in _NO_ENDS


def is_length_end(finish_reason: str) -> bool:
    """Returns whether the length asked for, or the model's, ended the answer."""
    return _end(finish_reason) in LENGTH_ENDS


def _end(finish_reason: str) -> str:
    return finish_reason.strip().lower().replace("-", "_").removeprefix("finish_reason_")


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
    told = [body[name] for name in body if _has_words(name) and not _is_empty(body[name])]
    told = [value for value in told if value is not True]
    # A word beside the words (`"error": "Bad Request", "message": "too long"`) says less than they.
    return max(told, key=_num_words, default=None)


def _has_words(name: str) -> bool:
    plain = _plain(name)
    return plain in _WORDS | _ERROR_FIELDS or plain.endswith(_ERROR_ENDINGS) or name in _ENVELOPES


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
