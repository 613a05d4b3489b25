"""What one trial of a run may find of another's prompts in a server's prefix cache.

All trials send the same prompts, so the second of two equal engines would find what the first has
left. `isolate` keeps them apart: by a salt where the server takes one, else by a few words of the
trial's own before each conversation. `reset` asks the server to empty its cache before each trial.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from engines.base_url import joined
from engines.errors import EngineInputError
from engines.proxied import opener_through
from engines.secrets import shown_url
from engines.tls import Tls

FIRST_VLLM_WITH_SALT = (0, 9)
_REQUEST_LINE = r"^(GET|POST|PUT|DELETE) /\S*$"
_VERSION_OF_VLLM = re.compile(r"v?(\d+)\.(\d+)")


class Reset(BaseModel):
    """`{reset: "POST /reset_prefix_cache"}`: method and path, from the server's root."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reset: str = Field(pattern=_REQUEST_LINE)

    @property
    def method(self) -> str:
        return self.reset.split(" ")[0]

    @property
    def path(self) -> str:
        return self.reset.split(" ")[1]


def _one_of_three(value: Any) -> Any:
    """Raises ValueError with one line for all three, where pydantic would give one for each."""
    if value in ("isolate", "shared") or isinstance(value, Reset):
        return value
    if isinstance(value, dict) and value.keys() == {"reset"}:
        request = value["reset"]
        if isinstance(request, str) and re.match(_REQUEST_LINE, request):
            return value
    raise ValueError(
        'must be isolate, shared or {reset: "METHOD /path"} such as '
        f'{{reset: "POST /reset_prefix_cache"}}, got {value!r}'
    )


_SCHEMA = {
    "oneOf": [
        {"enum": ["isolate", "shared"]},
        {
            "type": "object",
            "properties": {"reset": {"type": "string", "pattern": _REQUEST_LINE}},
            "required": ["reset"],
            "additionalProperties": False,
        },
    ]
}
PrefixCache = Annotated[
    Literal["isolate", "shared"] | Reset,
    BeforeValidator(_one_of_three),
    WithJsonSchema(_SCHEMA),
]
CacheSalt = Literal["auto", True, False]
# What keeps a trial's prompts from another's: a salt in each request, words before each
# conversation, an emptied cache; or nothing.
Separation = Literal["cache_salt", "words", "reset", "shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Whatever a server answered, also with a status that says no."""

    status: int
    reason: str
    headers: Mapping[str, str]  # names in small letters
    body: bytes  # the first MAX_PAGE_BYTES of it


MAX_PAGE_BYTES = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is asked beside the load, in the load's way."""

    base_url: str  # as clients use it, without user and password
    api_key: str | None
    timeout_s: float
    proxy: str | None = None  # the load's
    headers: Mapping[str, str] = field(default_factory=dict)  # whole: nothing is filled in
    tls: Tls | None = None

    def url(self, path: str) -> str:
        return joined(self.base_url, path)

    def root_url(self, path: str) -> str:
        return joined(self.base_url, path, is_from_root=True)

    def ask(self, method: str, url: str, content: object | None = None) -> bytes:
        """Returns the answer's body; `content` goes as JSON. Raises OSError, urllib's HTTPError
        among them."""
        headers = self._headers()
        data = b"" if method in ("POST", "PUT") else None
        if content is not None:
            data, headers["Content-Type"] = json.dumps(content).encode(), "application/json"
        request = urllib.request.Request(url, method=method, headers=headers, data=data)
        opener = opener_through(self.proxy, self.tls)
        try:
            with opener.open(request, timeout=self.timeout_s) as reply:
                answer: bytes = reply.read()
        except http.client.HTTPException as error:
            raise OSError(repr(error)) from None
        return answer

    def look(self, url: str, *, timeout_s: float | None = None) -> Reply:
        """Returns what is at the URL, a refusal too. Raises OSError where nothing answers."""
        request = urllib.request.Request(url, headers=self._headers())
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            try:
                opener = opener_through(self.proxy, self.tls)
                reply = opener.open(request, timeout=timeout_s)
            except urllib.error.HTTPError as error:
                reply = error
            with reply:
                return Reply(
                    status=reply.status,
                    reason=str(reply.reason),
                    headers={name.lower(): value for name, value in reply.headers.items()},
                    body=_read_until(time.monotonic() + timeout_s, reply),
                )
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(repr(error)) from None

    def _headers(self) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return key | dict(self.headers)


def _read_until(deadline: float, reply: http.client.HTTPResponse) -> bytes:
    """Returns the body; a page that comes in drops must not hold anybody. Raises OSError."""
    body = b""
    while len(body) < MAX_PAGE_BYTES and (piece := reply.read1(65_536)):
        body += piece
        if time.monotonic() > deadline:
            raise OSError("the page was not there in time")
    return body


def separate(
    name: str, wanted: PrefixCache, server: Server, *, cache_salt: CacheSalt
) -> Separation:
    """Returns how the trial that begins now is kept apart; where the cache is to be emptied, that
    has been done. `name` is the engine's. Raises EngineInputError."""
    if isinstance(wanted, Reset):
        _reset(name, wanted, server)
        return "reset"
    if wanted == "shared":
        return "shared"
    takes_salt = is_vllm_with_salt(server) if cache_salt == "auto" else cache_salt
    return "cache_salt" if takes_salt else "words"


def check_prefix_cache(
    wanted: PrefixCache, cache_salt: CacheSalt, extra_body: dict[str, Any]
) -> None:
    """Raises EngineInputError where keys contradict each other."""
    if cache_salt is True and wanted != "isolate":
        raise EngineInputError("cache_salt: true needs prefix_cache: isolate; leave one of them")
    if "cache_salt" in extra_body and wanted == "isolate":
        raise EngineInputError(
            "extra_body.cache_salt is the same for all trials, whose caches prefix_cache: isolate "
            "keeps apart; leave it out, or set prefix_cache: shared"
        )


def is_vllm_with_salt(server: Server) -> bool:
    """Returns whether the server says that it is a vLLM which knows `cache_salt`. Others are not
    tried: some refuse a field that they do not know, and most ignore it, which looks like a yes."""
    try:
        models = json.loads(server.ask("GET", server.url("/models")))["data"]
        if not models or any(each.get("owned_by") != "vllm" for each in models):
            return False
        version = str(json.loads(server.ask("GET", server.root_url("/version")))["version"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    found = _VERSION_OF_VLLM.match(version)
    return found is not None and (int(found[1]), int(found[2])) >= FIRST_VLLM_WITH_SALT


def _reset(name: str, wanted: Reset, server: Server) -> None:
    url = server.root_url(wanted.path)
    where = f"engine {name!r}: prefix_cache.reset: {wanted.method} {shown_url(url)}"
    try:
        server.ask(wanted.method, url)
    except urllib.error.HTTPError as error:
        with error:
            raise EngineInputError(
                f"{where} answers {error.code} {error.reason}; name the server's own endpoint "
                "(vLLM with VLLM_SERVER_DEV_MODE=1: POST /reset_prefix_cache, SGLang: "
                "POST /flush_cache), or leave prefix_cache at isolate"
            ) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise EngineInputError(f"{where} gives no answer ({reason}); is the server up?") from None
