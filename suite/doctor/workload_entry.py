"""What to write into a workload file for a server that was examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engines.api import Endpoint
from engines.identity import ServerIdentity
from engines.openai import OpenAISettings
from engines.secrets import without_secrets
from suite.doctor.findings import Finding

_FIRST = ("kind", "base_url", "base_urls", "api", "model")


def workload_entry(
    settings: OpenAISettings,
    endpoint: Endpoint,
    findings: Sequence[Finding],
    identity: ServerIdentity,
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """Returns the entry under `engines:`, a remark for some of its keys, and other keys of the file
    with their values."""
    found = {each.what: each for each in findings}
    given = settings.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    entry: dict[str, Any] = {"kind": settings.kind, "api": settings.api, "model": endpoint.model}
    entry |= without_secrets(given)
    comments: dict[str, str] = {}
    _choose_api(entry, comments, found)
    _choose_fields(entry, comments, found, is_vllm=identity.software == "vLLM")
    page = found.get("counter page")
    if page is not None and page.outcome == "yes":
        entry.setdefault("metrics_url", page.text.split(" ")[0])
    others = {}
    if identity.context_tokens is not None:
        others["conversations.max_context_tokens"] = f"{identity.context_tokens} or less"
    first = {key: entry.pop(key) for key in _FIRST if key in entry}
    return first | entry, comments, others


def _choose_fields(
    entry: dict[str, Any], comments: dict[str, str], found: dict[str, Finding], *, is_vllm: bool
) -> None:
    """Leaves out what is refused; a salt that works is named where it is not taken by itself."""
    if _is(found, "ignore_eos", "no"):
        entry["ignore_eos"] = False
        comments["ignore_eos"] = "it refuses the field; answers end where the model ends them"
    if _is(found, "cache_salt", "yes") and not is_vllm:
        entry["cache_salt"] = True
        comments["cache_salt"] = "it separates by it"
    for field in ("cache_salt", "priority"):
        if _is(found, field, "no") and entry.get(field) is True:
            entry[field] = False
            comments[field] = "it refuses the field"


def _choose_api(entry: dict[str, Any], comments: dict[str, str], found: dict[str, Finding]) -> None:
    """Changes to the endpoint that answers, and tells of token ids where both ways are open."""
    other = "completions" if entry["api"] == "chat" else "chat"
    if not _is(found, f"api: {entry['api']}", "yes") and _is(found, f"api: {other}", "yes"):
        comments["api"] = f"{entry['api']} gives no streamed answer"
        entry["api"] = other
    takes_ids = _is(found, "token ids", "yes") and _is(found, "return_token_ids", "yes")
    if takes_ids and entry.get("prompts") != "token_ids":
        comments["api"] = "or completions with prompts: token_ids, the same tokens to each engine"
    if not takes_ids and entry.get("prompts") == "token_ids":
        entry["prompts"] = "text"
        comments["prompts"] = "it does not take and return token ids"


def _is(found: dict[str, Finding], what: str, outcome: str) -> bool:
    return what in found and found[what].outcome == outcome
