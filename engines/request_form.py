"""How a server wants its requests: fields under other names, fields left out, fields added."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from engines.errors import EngineInputError
from engines.templates import ENVIRONMENT, places_in

# What fsbench itself writes into the body of a request to a server that is attached to.
MAX_EXTRA_BYTES = 65_536  # it travels to the driver in an environment variable
FIELDS = (
    "model",
    "messages",
    "prompt",
    "max_tokens",
    "temperature",
    "stream",
    "stream_options",
    "ignore_eos",
    "priority",
    "cache_salt",
    "return_token_ids",
)
_NEEDED = {
    "messages": "it is what is asked; leave it in",
    "prompt": "it is what is asked; leave it in",
    "stream": "tokens are timed as they stream; leave it in",
    "ignore_eos": "write ignore_eos: false",
    "priority": "write priority: false",
    "cache_salt": "write cache_salt: false",
    "return_token_ids": "write prompts: text",
}
OMITTABLE = tuple(name for name in FIELDS if name not in _NEEDED)


def checked_rename(rename: dict[str, str]) -> dict[str, str]:
    """Returns it as it is. Raises ValueError."""
    for old, new in rename.items():
        _check_known(old)
        if not new:
            raise ValueError(f"has no new name for {old}; to leave it out write omit: [{old}]")
    names = list(rename.values())
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"gives two fields the name {twice!r}; give each its own")
    taken = next((name for name in names if name in FIELDS and name not in rename), None)
    if taken is not None:
        raise ValueError(f"gives a field the name {taken!r}, which is another one's; omit that one")
    return rename


def checked_omit(omit: list[str]) -> list[str]:
    """Returns it as it is. Raises ValueError."""
    for name in omit:
        _check_known(name)
        if name in _NEEDED:
            raise ValueError(f"can not leave out {name}: {_NEEDED[name]}")
    return omit


def checked_extra_body(extra_body: dict[str, Any]) -> dict[str, Any]:
    """Returns it as it is. Raises ValueError for an unknown `${…}` in it, or for too much of it."""
    places_in(extra_body)
    try:
        size = len(json.dumps(extra_body, default=str, allow_nan=False))
    except ValueError:
        raise ValueError("holds a number that is not finite, which no JSON can carry") from None
    if size > MAX_EXTRA_BYTES:
        raise ValueError(
            f"must be of {MAX_EXTRA_BYTES:,} bytes at most as JSON, got {size:,}; leave out what "
            "each request does not need"
        )
    return extra_body


def check_form(
    rename: Mapping[str, str], omit: Collection[str], extra_body: Collection[str]
) -> None:
    """Raises EngineInputError where the three contradict each other."""
    for name in rename:
        if name in omit:
            raise EngineInputError(f"rename and omit both name {name}; leave it in one of them")
    for name in extra_body:
        if name in omit:
            raise EngineInputError(f"omit leaves out {name}, which extra_body adds; leave one out")
        if name in rename.values():
            old = next(old for old, new in rename.items() if new == name)
            raise EngineInputError(
                f"extra_body adds {name}, the new name of {old}; to set it, omit {old} instead of "
                "renaming it"
            )


def formed(
    body: Mapping[str, Any], rename: Mapping[str, str], omit: Collection[str]
) -> dict[str, Any]:
    """Returns the body in the server's form."""
    return {rename.get(name, name): value for name, value in body.items() if name not in omit}


def environment_of(value: Any) -> set[str]:
    """Returns the names of the environment's variables in a value."""
    places = places_in(value)
    return {each.removeprefix(ENVIRONMENT) for each in places if each.startswith(ENVIRONMENT)}


def _check_known(name: str) -> None:
    if name not in FIELDS:
        close = get_close_matches(name, FIELDS, n=1)
        near = f"did you mean {close[0]}? " if close else ""
        raise ValueError(
            f"names {name!r}, which fsbench does not send; {near}It sends {', '.join(FIELDS)}"
        )
