"""Which software, in which version, answers at a URL: by its list of models, its `Server` header
and the pages that servers have for it. Nothing here fails; what nobody tells is None.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from engines.api import Endpoint
from engines.identity_pages import PAGES, KnownPage, Page, positive, short_text, software_of_header
from engines.separation import Reply, Server
from engines.templates import NOBODY, fill

LOOK_TIMEOUT_S = 2.0  # of one page
ALL_TIMEOUT_S = 6.0  # of all pages together


class ServerIdentity(BaseModel):
    """What is known of a server; each field None, or empty, where it does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    software: str | None = None  # vLLM, llama.cpp, …
    version: str | None = None
    server_header: str | None = None  # mostly of the framework or of a proxy
    model_source: str | None = None  # the file or folder behind the model's name
    context_tokens: int | None = None  # that one request may have
    details: tuple[str, ...] = ()
    told_by: tuple[str, ...] = ()  # the pages

    @property
    def text(self) -> str | None:
        """Returns it in one line; None where the server tells nothing."""
        name = " ".join(filter(None, (self.software, self.version)))
        others = [] if self.server_header is None else [f"Server: {self.server_header}"]
        if self.software is not None and self.server_header == self.software:
            others = []
        if not name:
            told = "; ".join([*others, *self.details])
            return f"a server that does not name itself ({told})" if told else None
        return "; ".join([name, *others, *self.details])


def identify(server: Server, model: str | None, *, is_thorough: bool = False) -> ServerIdentity:
    """Returns what the server tells of itself and of the model; asks a few pages, each for a
    moment, and gives up at once where it hangs. Thorough: also pages that cost a server work."""
    looked = _Look(server)
    listed = looked.page(server.url("/models"))
    entry = _entry(listed, model)
    found = _of_entry(entry)
    for known in _likely_first(str(entry.get("owned_by", "")).lower(), is_thorough):
        told = looked.page(server.root_url(known.path))
        mine = None if told is None else known.read(told)
        if mine is not None:
            found = {**found, **{key: each for key, each in mine.items() if each is not None}}
            looked.told.append(known.path)
            break
    if "software" not in found and looked.header is not None:
        found |= software_of_header(looked.header)
    return ServerIdentity(**found, server_header=looked.header, told_by=tuple(looked.told))


def server_of(endpoint: Endpoint) -> Server:
    """Returns the server behind the endpoint, as it is asked beside the load."""
    return Server(
        endpoint.base_url,
        endpoint.api_key,
        LOOK_TIMEOUT_S,
        endpoint.proxy,
        headers=fill(endpoint.headers, NOBODY),
        tls=endpoint.tls,
    )


class _Look:
    """Asks pages until the server hangs or the time is over."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._until = time.monotonic() + ALL_TIMEOUT_S
        self.header: str | None = None
        self.told: list[str] = []

    def page(self, url: str) -> Page | None:
        """Returns a page that is a JSON object; None for everything else."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            return None
        try:
            reply = self._server.look(url, timeout_s=min(left_s, LOOK_TIMEOUT_S))
        except OSError:
            self._until = 0.0
            return None
        self.header = self.header or short_text(reply.headers.get("server"))
        return _json_object(reply)


def _json_object(reply: Reply) -> Page | None:
    if reply.status != 200:
        return None
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _entry(listed: Page | None, model: str | None) -> Page:
    """Returns the model's entry in the list of models; an empty one where it has none."""
    data = listed.get("data") if listed is not None else None
    entries = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    mine = [each for each in entries if each.get("id") == model]
    return mine[0] if mine else entries[0] if entries else {}


def _of_entry(entry: Page) -> dict[str, Any]:
    """Returns what the list of models tells beside names: vLLM's and llama.cpp's fields."""
    meta = entry.get("meta")
    limits = (entry.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None)
    found: dict[str, Any] = {"context_tokens": next(filter(None, map(positive, limits)), None)}
    root = short_text(entry.get("root"))
    if root is not None and root != entry.get("id"):
        found["model_source"] = root
    return {key: each for key, each in found.items() if each is not None}


def _likely_first(owner: str, is_thorough: bool) -> Sequence[KnownPage]:
    """Returns the pages to ask: those of the model's owner first."""
    asked = [
        each
        for each in PAGES
        if each.owner == owner or not (each.needs_owner or (each.is_costly and not is_thorough))
    ]
    return sorted(asked, key=lambda known: known.owner != owner)
