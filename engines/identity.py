"""Which software, in which version, answers at a URL: by its list of models, its `Server` header
and the pages that servers have for it. Nothing here fails; what nobody tells is None.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from engines.api import Endpoint
from engines.separation import Reply, Server
from engines.templates import NOBODY, fill

LOOK_TIMEOUT_S = 2.0  # of one page
ALL_TIMEOUT_S = 6.0  # of all pages together
MAX_TEXT = 200  # of what a server says of itself
_NO_NAME = ("FastAPI", "")  # how a framework calls what nobody has named


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
            return "; ".join([*others, *self.details]) or None
        return "; ".join([name, *others, *self.details])


Page = Mapping[str, Any]
_Reader = Callable[[Page], dict[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownPage:
    path: str  # from the server's root
    read: _Reader  # None: the page is another's
    owner: str | None = None  # as `owned_by` in the list of models; None = it does not say
    needs_owner: bool = False  # many have such a page


def identify(server: Server, model: str | None) -> ServerIdentity:
    """Returns what the server tells of itself and of the model; asks a few pages, each for a
    moment, and gives up at once where it hangs."""
    looked = _Look(server)
    listed = looked.page(server.url("/models"))
    entry = _entry(listed, model)
    found = _of_entry(entry)
    for known in _likely_first(str(entry.get("owned_by", "")).lower()):
        told = looked.page(server.root_url(known.path))
        mine = None if told is None else known.read(told)
        if mine is not None:
            found = {**found, **{key: each for key, each in mine.items() if each is not None}}
            looked.told.append(known.path)
            break
    if "software" not in found and looked.header is not None:
        found |= _of_header(looked.header)
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
        self.header = self.header or _short(reply.headers.get("server"))
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
    found: dict[str, Any] = {"context_tokens": next(filter(None, map(_count, limits)), None)}
    root = _short(entry.get("root"))
    if root is not None and root != entry.get("id"):
        found["model_source"] = root
    return {key: each for key, each in found.items() if each is not None}


def _likely_first(owner: str) -> Sequence[_KnownPage]:
    """Returns the pages to ask: those of the model's owner first."""
    asked = [each for each in _PAGES if each.owner == owner or not each.needs_owner]
    return sorted(asked, key=lambda known: known.owner != owner)


def _of_header(header: str) -> dict[str, Any]:
    """Returns what a `Server` header says if it names an inference server, not a framework."""
    name, _, version = header.partition("/")
    names = {"llama.cpp": "llama.cpp", "llamafile": "llamafile", "fsbench": "fsbench"}
    software = names.get(name.strip().lower())
    return {} if software is None else {"software": software, "version": version or None}


def _vllm(page: Page) -> dict[str, Any] | None:
    return _version_of("vLLM", page, "version")


def _tensorrt_llm(page: Page) -> dict[str, Any] | None:
    return _version_of("TensorRT-LLM", page, "version")


def _fsbench(page: Page) -> dict[str, Any] | None:
    return _version_of("fsbench", page, "version")


def _ollama(page: Page) -> dict[str, Any] | None:
    return _version_of("Ollama", page, "version")


def _litellm(page: Page) -> dict[str, Any] | None:
    return _version_of("LiteLLM", page, "litellm_version")


def _nim(page: Page) -> dict[str, Any] | None:
    return _version_of("NIM", page, "release")


def _version_of(software: str, page: Page, field: str) -> dict[str, Any] | None:
    version = _short(page.get(field))
    return None if version is None else {"software": software, "version": version}


def _llama_cpp(page: Page) -> dict[str, Any] | None:
    if "default_generation_settings" not in page and "total_slots" not in page:
        return None
    settings = page.get("default_generation_settings")
    context = _count(settings.get("n_ctx")) if isinstance(settings, dict) else None
    slots = _count(page.get("total_slots"))
    return {
        "software": "llama.cpp",
        "version": _short(page.get("build_info")),
        "model_source": _short(page.get("model_path")),
        "context_tokens": context,
        "details": () if slots is None else (f"{slots} slots",),
    }


def _sglang(page: Page) -> dict[str, Any] | None:
    if "model_path" not in page and "version" not in page:
        return None
    return {
        "software": "SGLang",
        "version": _short(page.get("version")),
        "model_source": _short(page.get("model_path")),
        "context_tokens": _count(page.get("context_length")),
    }


def _tgi(page: Page) -> dict[str, Any] | None:
    if "model_id" not in page or "version" not in page:
        return None
    return {
        "software": "TGI",
        "version": _short(page["version"]),
        "model_source": _short(page["model_id"]),
        "context_tokens": _count(page.get("max_total_tokens")),
    }


def _openapi(page: Page) -> dict[str, Any] | None:
    """What FastAPI servers say of themselves in their description."""
    info = page.get("info")
    title = _short(info.get("title")) if isinstance(info, dict) else None
    if title is None or title in _NO_NAME or not isinstance(info, dict):
        return None
    return {"software": title, "version": _short(info.get("version"))}


# In the order in which they are asked where the list of models does not say whose it is.
_PAGES: tuple[_KnownPage, ...] = (
    _KnownPage(path="/version", read=_vllm, owner="vllm", needs_owner=True),
    _KnownPage(path="/version", read=_tensorrt_llm, owner="tensorrt_llm", needs_owner=True),
    _KnownPage(path="/version", read=_fsbench, owner="fsbench", needs_owner=True),
    _KnownPage(path="/props", read=_llama_cpp, owner="llamacpp"),
    _KnownPage(path="/get_server_info", read=_sglang, owner="sglang"),
    _KnownPage(path="/info", read=_tgi),
    _KnownPage(path="/api/version", read=_ollama, owner="library"),
    _KnownPage(path="/health/readiness", read=_litellm),
    _KnownPage(path="/v1/version", read=_nim),
    _KnownPage(path="/openapi.json", read=_openapi),
)


def _short(value: object) -> str | None:
    """Returns a text in one line and of a bearable length; None for what is none."""
    if not isinstance(value, str) or not value.strip():
        return None
    line = " ".join(value.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count and isinstance(value, int) else None
