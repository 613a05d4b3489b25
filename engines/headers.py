"""Headers that a file adds to each request: which may stand there, and what they may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engines.errors import EngineInputError
from engines.templates import VARIABLE, places_in, prepared, variable

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_KEPT = {
    "content-length": "each request has its own",
    "transfer-encoding": "each request has a Content-Length",
    "connection": "connections are kept and reused",
    "content-type": "a request is JSON",
    "accept-encoding": "a stream has to come as it is, not compressed",
    "expect": "a request is sent at once",
    "upgrade": "HTTP/1.1 is spoken",
    "te": "HTTP/1.1 is spoken without trailers",
    "trailer": "a request has no trailers",
    "proxy-authorization": "write proxy: http://USER:PASSWORD@HOST:PORT",
}


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    """Returns them as they are. Raises ValueError for what no request can have."""
    seen: dict[str, str] = {}
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"has a name that no header can have, {name!r}; write letters, digits and -"
            )
        if (lowered := name.lower()) in _KEPT:
            raise ValueError(f"can not set {name}: {_KEPT[lowered]}; leave it out")
        if lowered in seen:
            raise ValueError(f"names {seen[lowered]} and {name}, which are one; leave one of them")
        seen[lowered] = name
        try:
            places_in(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
        if (why := _unsendable(value)) is not None:
            raise ValueError(f"{name} holds {why}, which no header can carry; write it without")
    return headers


def prepared_headers(
    headers: Mapping[str, str], environment: Mapping[str, str], where: str
) -> dict[str, str]:
    """Returns them with the environment's variables in them, ready to be filled for each request.
    Raises EngineInputError, which shows no value."""
    found = {}
    for name, value in headers.items():
        try:
            text = str(prepared(value, environment))
        except EngineInputError as error:
            raise EngineInputError(f"{where}.{name}: {error}") from None
        if (why := _unsendable(text)) is not None:
            raise EngineInputError(
                f"{where}.{name}: what comes from the environment holds {why}, which no header can "
                "carry; export it anew without"
            )
        found[name] = text
    return found


def key_from_environment(name: str, environment: Mapping[str, str], where: str) -> str:
    """Returns the key that the variable holds. Raises EngineInputError, which never shows it."""
    try:
        key = variable(name, environment)
    except EngineInputError as error:
        raise EngineInputError(f"{where}: {error}") from None
    if (why := _unsendable(key)) is not None:
        raise EngineInputError(
            f"{where}: the environment variable {name} holds {why}, which no header can carry; "
            "export the key anew without"
        )
    return key


def checked_variable(name: str | None) -> str | None:
    """Returns it as it is. Raises ValueError where it can be no variable's name, without showing
    it: it may be the key itself."""
    if name is not None and not VARIABLE.fullmatch(name):
        raise ValueError(
            f"must be the name of an environment variable (letters, digits, _), got {len(name)} "
            "other characters; export the key in a variable and write that variable's name"
        )
    return name


def _unsendable(value: str) -> str | None:
    """Returns what in the value can not be sent, None where all can."""
    for place, each in enumerate(value):
        if each in "\r\n":
            return f"a line break at place {place + 1} of {len(value)}"
        if not (" " <= each <= "~" or each == "\t"):
            return f"the character {each!a} at place {place + 1} of {len(value)}"
    return None
