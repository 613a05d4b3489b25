"""What must not be written down: keys and passwords, in a workload's values, in URLs, in what a
server says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
CUT = "…"  # ends a text that was longer
MIN_SECRET_CHARACTERS = 4  # a shorter one stands in every text by chance
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SECRET_ENDS = frozenset(
    [
        "authorization",
        "auth",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "jwt",
        "key",
        "apikey",
        "passwd",
        "password",
        "passphrase",
        "pwd",
        "secret",
        "sig",
        "signature",
    ]
)
_TOKENS_BEFORE = frozenset({"access", "api", "auth", "bearer", "csrf", "id", "refresh", "session"})
_USER = re.compile(r"(?<=://)[^/?#\s@]*@")
_PARAMETER = re.compile(r"(?<=[?&])([^=&#\s]+)=([^&#\s]*)")
_REFERENCE = "${env:"  # names a secret, and is none


def is_secret_name(name: str) -> bool:
    """Returns whether what has this name (a header, a field, a URL's parameter) is a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if words[-1] == "token":
        return len(words) == 1 or words[-2] in _TOKENS_BEFORE or words[0] == "x"
    return words[-1] in _SECRET_ENDS


def without_secrets(value: Any, name: str = "") -> Any:
    """Returns a setting's value as it may be written into a file, `name` being its key."""
    if isinstance(value, Mapping):
        return {key: without_secrets(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(each, name) for each in value]
    if not isinstance(value, str):
        return value
    if is_secret_name(name) and _REFERENCE not in value:
        return HIDDEN
    return shown_url(value)


def shown_url(text: str) -> str:
    """Returns a text with the users, passwords and keys of all URLs in it hidden."""
    text = _USER.sub(f"{HIDDEN}@", text)
    if "://" not in text:
        return text
    return _PARAMETER.sub(_shown_parameter, text)


def _shown_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN}" if is_secret_name(match[1]) else match[0]


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Returns a text of somebody else's, such as a server's error, without these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MIN_SECRET_CHARACTERS:
            text = _without_cut_end(text.replace(secret, HIDDEN), secret)
    return text


def _without_cut_end(text: str, secret: str) -> str:
    """Hides the beginning of a secret at which a long text was cut."""
    if not text.endswith(CUT):
        return text
    kept = text.removesuffix(CUT)
    for num in range(min(len(secret), len(kept)), MIN_SECRET_CHARACTERS - 1, -1):
        if kept.endswith(secret[:num]):
            return f"{kept[:-num]}{HIDDEN}{CUT}"
    return text
