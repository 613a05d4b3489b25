"""Text with places to fill in: `${env:NAME}` once, before a trial; `${user_id}` and the like for
each request. `$${` stands for a plain `${`.

What is filled in is never read as a place again, whatever it holds: `prepared` brings text into a
form in which a plain `$` is `$$`, and `fill` reads no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from engines.errors import EngineInputError

ENVIRONMENT = "env:"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WRITTEN = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{|\$")  # as people write it
_PREPARED = re.compile(r"\$\$|\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What is known of one request when it is written; each field is a place in a template."""

    user_id: str
    user_class: str
    conversation_id: str
    priority: int | None  # None: the workload has none; 0 is filled in


# Who asks where no user does: a look at the server, a question of fsbench's own.
NOBODY = RequestFacts(
    user_id="fsbench", user_class="fsbench", conversation_id="fsbench", priority=None
)
PLACES = tuple(field.name for field in fields(RequestFacts))


def places_in(value: Any) -> set[str]:
    """Returns the names of all places in a value as people write it. Raises ValueError for a
    place that there is not."""
    found: set[str] = set()

    def look(text: str) -> str:
        found.update(_place(match) for match in _WRITTEN.finditer(text))
        return text

    _each_text(value, look)
    return found - {""}


def prepared(value: Any, environment: Mapping[str, str]) -> Any:
    """Returns the value with the environment's variables in it, ready for `fill`. Raises
    EngineInputError where one is not set."""

    def prepare(text: str) -> str:
        return _WRITTEN.sub(one, text)

    def one(match: re.Match[str]) -> str:
        place = _place(match)
        if not place:
            return "$${" if match[0] == "$${" else match[0].replace("$", "$$")
        if place.startswith(ENVIRONMENT):
            return variable(place.removeprefix(ENVIRONMENT), environment).replace("$", "$$")
        return match[0]

    return _each_text(value, prepare)


def is_filled(value: Any) -> bool:
    """Returns whether a prepared value has a place, so that it differs from request to request."""
    has_place = False

    def look(text: str) -> str:
        nonlocal has_place
        has_place |= any(match[1] is not None for match in _PREPARED.finditer(text))
        return text

    _each_text(value, look)
    return has_place


def fill(value: Any, facts: RequestFacts) -> Any:
    """Returns a prepared value with the request's facts in it. A text that is nothing but
    `${priority}` becomes the number."""

    def fill_text(text: str) -> Any:
        if text == "${priority}":
            return facts.priority or 0
        return _PREPARED.sub(one, text)

    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        value = getattr(facts, match[1])
        return "0" if value is None else str(value)

    return _each_text(value, fill_text)


def variable(name: str, environment: Mapping[str, str]) -> str:
    """Returns what an environment variable holds, without the blanks and line breaks around it
    that a file or a secret's store leaves. Raises EngineInputError."""
    value = environment.get(name, "").strip()
    if not value:
        state = "is empty" if name in environment else "is not set"
        raise EngineInputError(f"the environment variable {name} {state}; export it")
    return value


def _place(match: re.Match[str]) -> str:
    """Returns the place's name, "" where the match is plain text. Raises ValueError."""
    if match[0] == "${":
        raise ValueError("has a ${ without its }; write $${ where a plain ${ is meant")
    name = match[1]
    if name is None:
        return ""
    if name.startswith(ENVIRONMENT):
        if not VARIABLE.fullmatch(name.removeprefix(ENVIRONMENT)):
            raise ValueError(
                f"has ${{{name}}}, which names no environment variable; write "
                "${env:NAME} with letters, digits and _"
            )
        return name
    if name not in PLACES:
        close = get_close_matches(name, [*PLACES, f"{ENVIRONMENT}NAME"], n=1)
        near = f"; did you mean ${{{close[0]}}}?" if close else ""
        choices = ", ".join(f"${{{each}}}" for each in PLACES)
        raise ValueError(
            f"has ${{{name}}}, which is unknown; choose one of {choices}, ${{env:NAME}}{near}"
        )
    return name


def _each_text(value: Any, change: Callable[[str], Any]) -> Any:
    """Returns the value with each text in it changed; keys of mappings stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_text(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(each, change) for each in value]
    return value
