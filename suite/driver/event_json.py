"""The JSON of an event, as servers write it: also what is no JSON to the letter.

A chunk may end inside an emoji (half a surrogate pair, or half its bytes), and Python's servers
write NaN and Infinity. What still can not be read is shown from where it goes wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson

# Surrogates but for those that stand for a byte each.
_HALF_PAIR = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_SHOWN_BEFORE, _SHOWN_AFTER = 30, 50  # characters around the culprit


class EventError(Exception):
    """An event that can not be read. One line, with what is wrong in it."""


def json_object(data: bytes) -> dict[str, Any]:
    """Raises EventError."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _lenient(data)
    if not isinstance(value, dict):
        raise EventError(f"an event is not a JSON object: {shown(value)}")
    return value


def _lenient(data: bytes) -> Any:
    text = data.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        start = max(0, error.pos - _SHOWN_BEFORE)
        culprit = text[start : error.pos + _SHOWN_AFTER].encode("utf-8", "replace").decode()
        lead = "…" if start else ""
        raise EventError(
            f"an event is not JSON ({error.msg.lower()} at character {error.pos} of {len(text)}): "
            f"{lead + culprit!r}"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; too deep
        raise EventError(f"an event is not JSON: {error}") from None


def shown(value: object) -> str:
    """Returns a value's beginning on one line, for a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_AFTER else text[: _SHOWN_AFTER - 1] + "…"


def unknown_shape(where: str, value: object) -> EventError:
    return EventError(f"an event has an unknown shape: {where} is {shown(value)}")


def whole_text(pieces: Sequence[str]) -> str:
    """The pieces put together, with characters that were cut in two made whole again; half a
    character that nothing completes becomes U+FFFD, for no prompt could carry it."""
    text = "".join(pieces)
    try:
        text.encode()
    except UnicodeEncodeError:
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        marked = _HALF_PAIR.sub("\ufffd", paired)
        return marked.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text
