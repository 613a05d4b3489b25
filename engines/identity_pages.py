"""The pages on which servers tell what they are, each with how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 200  # of what a server says of itself
_NO_NAME = ("FastAPI", "")  # how a framework calls what nobody has named

Page = Mapping[str, Any]
Reader = Callable[[Page], dict[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPage:
    path: str  # from the server's root
    read: Reader  # None: the page is another's
    owner: str | None = None  # as `owned_by` in the list of models; None = it does not say
    needs_owner: bool = False  # many have such a page
    is_costly: bool = False  # LiteLLM builds its description for seconds and answers nobody


def software_of_header(header: str) -> dict[str, Any]:
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
    version = short_text(page.get(field))
    return None if version is None else {"software": software, "version": version}


def _llama_cpp(page: Page) -> dict[str, Any] | None:
    if "default_generation_settings" not in page and "total_slots" not in page:
        return None
    settings = page.get("default_generation_settings")
    context = positive(settings.get("n_ctx")) if isinstance(settings, dict) else None
    slots = positive(page.get("total_slots"))
    return {
        "software": "llama.cpp",
        "version": short_text(page.get("build_info")),
        "model_source": short_text(page.get("model_path")),
        "context_tokens": context,
        "details": () if slots is None else (f"{slots} slots",),
    }


def _sglang(page: Page) -> dict[str, Any] | None:
    if "model_path" not in page and "version" not in page:
        return None
    return {
        "software": "SGLang",
        "version": short_text(page.get("version")),
        "model_source": short_text(page.get("model_path")),
        "context_tokens": positive(page.get("context_length")),
    }


def _tgi(page: Page) -> dict[str, Any] | None:
    if "model_id" not in page or "version" not in page:
        return None
    return {
        "software": "TGI",
        "version": short_text(page["version"]),
        "model_source": short_text(page["model_id"]),
        "context_tokens": positive(page.get("max_total_tokens")),
    }


def _openapi(page: Page) -> dict[str, Any] | None:
    """What FastAPI servers say of themselves in their description."""
    info, paths = page.get("info"), page.get("paths")
    if isinstance(paths, dict) and paths.keys() >= {"/load_model", "/v1/chat/completions"}:
        return {"software": "transformers serve"}
    title = short_text(info.get("title")) if isinstance(info, dict) else None
    if title is None or title in _NO_NAME or not isinstance(info, dict):
        return None
    return {"software": title, "version": short_text(info.get("version"))}


# In the order in which they are asked where the list of models does not say whose it is.
PAGES: tuple[KnownPage, ...] = (
    KnownPage(path="/version", read=_vllm, owner="vllm", needs_owner=True),
    KnownPage(path="/version", read=_tensorrt_llm, owner="tensorrt_llm", needs_owner=True),
    KnownPage(path="/version", read=_fsbench, owner="fsbench", needs_owner=True),
    KnownPage(path="/props", read=_llama_cpp, owner="llamacpp"),
    KnownPage(path="/get_server_info", read=_sglang, owner="sglang"),
    KnownPage(path="/info", read=_tgi),
    KnownPage(path="/api/version", read=_ollama, owner="library"),
    KnownPage(path="/health/readiness", read=_litellm),
    KnownPage(path="/v1/version", read=_nim),
    KnownPage(path="/openapi.json", read=_openapi, is_costly=True),
)


def short_text(value: object) -> str | None:
    """Returns a text in one line and of a bearable length; None for what is none."""
    if not isinstance(value, str) or not value.strip():
        return None
    line = " ".join(value.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def positive(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count and isinstance(value, int) else None
