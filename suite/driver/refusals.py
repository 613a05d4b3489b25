"""What to change in a workload file where a server's refusal names something that was sent.

Only words of the server and fields of the request count: no server is known by name here.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_REFUSALS = (200, 400, 404, 405, 413, 422)  # 200: an error in the stream

# Field of a request → the key that decides on it.
KEYS = {
    "ignore_eos": "ignore_eos: false",
    "priority": "priority: false",
    "cache_salt": "cache_salt: false",
    "return_token_ids": "prompts: text",
    "stream_options": "omit: [stream_options]",
    "include_usage": "omit: [stream_options]",
    "temperature": "omit: [temperature]",
    "max_tokens": "rename: {max_tokens: max_completion_tokens}",
    "vllm_xargs": "scheduling: fcfs or priority",
}
_ALWAYS = ("model", "prompt", "messages", "stream")  # words of every language
_ALIASES = {"include_usage": "stream_options"}  # what is named → what was sent
_TOO_LONG = re.compile(
    r"context (length|size|window)|max_model_len|maximum model length|too many tokens|"
    r"(prompt|input|request) is too long|exceed\w* .*context|max_new_tokens.* must be|"
    r"max(imum)? (total|input)[_ ]tokens|larger than the context",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"(?:(?:context|model)\s+(?:length|size|window)\D{0,30}?|max_model_len\D{0,8}|<=\s*|"
    r"at most\s+|n_ctx\D{0,6})(\d{2,})",
    re.IGNORECASE,
)
_ANSWER_TOO_LONG = re.compile(
    r"max_(completion_|new_)?tokens.{0,40}(too (large|high|big)|less than|at most|<=|exceed|range)",
    re.IGNORECASE,
)
_NO_TEMPLATE = re.compile(r"chat[_ ]template", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"\bmodel\b.{0,120}(not (found|exist|available|loaded|supported)|does ?n.t exist|unknown)|"
    r"(unknown|invalid|no such) model|invalid model name",
    re.IGNORECASE,
)
_NO_TOKEN_IDS = re.compile(
    r"prompt.{0,60}(must be a string|valid string|type str|str type|not a string)|"
    r"token[_ ]ids?.{0,40}not supported",
    re.IGNORECASE,
)


def advice(words: str, *, status: int, api: str, sent: Collection[str]) -> str | None:
    """Returns which key to set so that the server is not asked what it refuses; None where its
    words name nothing of ours. `sent`: the names of the request's fields."""
    if status not in _REFUSALS:
        return None
    for found in (_of_length(words), _of_field(words, sent), _of_other(words, status, api)):
        if found is not None:
            return found
    return None


def _of_length(words: str) -> str | None:
    if _ANSWER_TOO_LONG.search(words) and not _TOO_LONG.search(words):
        return "the answers asked for are longer than it gives: ask for shorter ones, conversations"
    if not _TOO_LONG.search(words):
        return None
    limit = _LIMIT.search(words)
    most = "what it has room for" if limit is None else f"{limit[1]} or less"
    return f"set conversations.max_context_tokens to {most}"


def _of_field(words: str, sent: Collection[str]) -> str | None:
    asked = [field for field in (*sent, *_ALIASES) if _ALIASES.get(field, field) in sent]
    named = [field for field in asked if field not in _ALWAYS and _is_named(field, words)]
    keys = dict.fromkeys(KEYS[field] for field in named if field in KEYS)
    others = [field for field in named if field not in KEYS]
    parts = [f"set {', '.join(keys)}"] if keys else []
    if others:
        parts.append(f"leave {', '.join(others)} out of extra_body")
    return " and ".join(parts) or None


def _is_named(field: str, words: str) -> bool:
    """Returns whether the words name the field itself, not a longer word with it inside."""
    return re.search(rf"(?<![\w.]){re.escape(field)}(?!\w)", words, re.IGNORECASE) is not None


def _of_other(words: str, status: int, api: str) -> str | None:
    if _NO_TEMPLATE.search(words) and api == "chat":
        return "the model has no chat template: set api: completions"
    if _NO_TOKEN_IDS.search(words):
        return "set prompts: text"
    if _NO_MODEL.search(words):
        return "set model to one that it lists"
    if status in (404, 405):
        other = "completions" if api == "chat" else "chat"
        return f"it has no such endpoint: set api: {other}, or look at base_url"
    return None
