"""A server's base URL: `https://USER:PASSWORD@HOST/v1?api-version=2024-10-21` in its parts.

User and password become a header, so that no message and no file has them; a query goes with each
request.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from engines.secrets import shown_url
from engines.templates import ENVIRONMENT, places_in, variable

_ENDPOINTS = ("/chat/completions", "/completions")
_FROM_ENVIRONMENT = re.compile(r"\$\{env:([^}]*)\}")
_EXAMPLE = "http://127.0.0.1:8000/v1"
_PROXY = "http://HOST:PORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseUrl:
    address: str  # without user and query, and without a slash at its end
    query: str
    authorization: str | None  # a header's value

    @classmethod
    def from_text(cls, text: str, environment: Mapping[str, str]) -> BaseUrl:
        """Reads a URL that `checked_base_url` let pass. Raises EngineInputError where a variable
        is not set."""
        url = urlsplit(with_environment(text, environment))
        _, _, place = url.netloc.rpartition("@")
        return cls(
            address=f"{url.scheme}://{place}{url.path.rstrip('/')}",
            query=url.query,
            authorization=_basic(url.username, url.password),
        )

    @property
    def text(self) -> str:
        """Returns the URL as clients use it, without user and password."""
        return f"{self.address}?{self.query}" if self.query else self.address


def joined(base_url: str, path: str, *, is_from_root: bool = False) -> str:
    """Returns the URL of `path` below the base, its query kept; from the server's root, which is
    the base without its `/v1`."""
    address, mark, query = base_url.partition("?")
    address = address.rstrip("/")
    if is_from_root:
        address = address.removesuffix("/v1")
    return f"{address}{path}{mark}{query}"


def with_environment(url: str, environment: Mapping[str, str]) -> str:
    """Returns the URL with the environment's variables in it. Raises EngineInputError."""
    return _FROM_ENVIRONMENT.sub(lambda match: quote(variable(match[1], environment), safe=""), url)


def checked_base_url(text: str) -> str:
    """Returns it as it is. Raises ValueError."""
    shown, url = shown_url(text), _checked(text, ("http", "https"), _EXAMPLE)
    path = url.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint):
            base = shown_url(url._replace(path=path.removesuffix(endpoint)).geturl())
            raise ValueError(
                f"must be what stands before an endpoint's name, got {shown!r}; write {base}"
            )
    return text


def checked_metrics_url(text: str | None) -> str | None:
    """Returns it as it is. Raises ValueError."""
    if text is not None:
        _checked(text, ("http", "https"), "http://127.0.0.1:8000/metrics")
    return text


def checked_proxy(text: str | None) -> str | None:
    """Returns it as it is. Raises ValueError."""
    if text is not None:
        url = _checked(text, ("http",), _PROXY)
        if url.path.strip("/") or url.query:
            raise ValueError(
                f"must be written like {_PROXY}, without a path, got {shown_url(text)!r}"
            )
    return text


def _checked(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """Returns the URL's parts. Raises ValueError."""
    shown = shown_url(text)
    like = f"must be written like {example}"
    if re.search(r"\s", text):
        raise ValueError(f"{like}, without blanks, got {shown!r}")
    try:
        url = urlsplit(text)
        is_whole = url.scheme in schemes and bool(url.hostname)
        _ = url.port  # raises ValueError where it is no port
    except ValueError:
        raise ValueError(f"{like}, got {shown!r}") from None
    if not is_whole:
        raise ValueError(f"{like}, got {shown!r}")
    if url.fragment:
        raise ValueError(f"must not have a #, which no server sees, got {shown!r}; leave it out")
    if named := [place for place in places_in(text) if not place.startswith(ENVIRONMENT)]:
        raise ValueError(
            f"is the same for all requests, got ${{{named[0]}}} in it; put that into headers or "
            "extra_body"
        )
    return url


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    words = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(words.encode()).decode()
