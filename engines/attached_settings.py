"""The settings of `kind: openai`: where a server is, and how it wants to be asked."""

from __future__ import annotations

from abc import ABC
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema

from engines.api import Balance, CountTokens, EngineSettings
from engines.base_url import checked_base_url, checked_metrics_url, checked_proxy
from engines.durations import Seconds
from engines.errors import EngineInputError
from engines.facts import EngineFacts
from engines.headers import checked_headers, checked_variable
from engines.request_form import (
    FIELDS,
    OMITTABLE,
    check_form,
    checked_extra_body,
    checked_omit,
    checked_rename,
)
from engines.separation import CacheSalt, PrefixCache, check_prefix_cache
from engines.templates import places_in
from engines.tls import Tls, tls_context

Url = Annotated[str, AfterValidator(checked_base_url)]


def _schema_of_rename() -> dict[str, Any]:
    return {
        "type": "object",
        "propertyNames": {"enum": list(FIELDS)},
        "additionalProperties": {"type": "string", "minLength": 1},
    }


class AttachedSettings(EngineSettings, ABC):
    """What can be said of a server that is attached to."""

    base_url: Url | None = Field(None, description="as clients use it, mostly ending in /v1")
    base_urls: list[Url] | None = Field(
        None, min_length=1, description="in place of base_url: several servers of one model"
    )
    balance: Balance = Field(
        "conversation",
        description="who of base_urls is asked: one for a whole conversation, or the next for each "
        "request (round_robin)",
    )
    model: str | None = Field(None, description="as the server calls it; default: its only model")
    asks_models: bool = Field(
        True,
        alias="check_model",
        description="false: `/models` is not asked, and `model` is taken at its word",
    )
    wait_ready: Seconds = Field(
        0.0, ge=0, description="how long to wait for a server that is starting, e.g. 120s"
    )
    api: Literal["completions", "chat"] = "completions"
    prompts: Literal["token_ids", "text"] = Field(
        "text", description="token_ids where the server takes and returns them (vLLM does)"
    )
    api_key_env: Annotated[str | None, AfterValidator(checked_variable)] = Field(
        None, description="environment variable that holds the key"
    )
    headers: Annotated[dict[str, str], AfterValidator(checked_headers)] = Field(
        default_factory=dict,
        description="added to each request; ${env:NAME}, ${user_id}, ${user_class}, "
        "${conversation_id} and ${priority} are filled in",
    )
    ignore_eos: bool = Field(True, description="ask for the planned answer length exactly")
    priority: bool = Field(False, description="the server takes a `priority` field")
    extra_body: Annotated[dict[str, Any], AfterValidator(checked_extra_body)] = Field(
        default_factory=dict,
        description="added to each request's body; filled in like headers",
    )
    rename: Annotated[
        dict[str, str], AfterValidator(checked_rename), WithJsonSchema(_schema_of_rename())
    ] = Field(
        default_factory=dict,
        description="other names for fields, e.g. {max_tokens: max_completion_tokens}",
    )
    omit: Annotated[
        list[str],
        AfterValidator(checked_omit),
        WithJsonSchema({"type": "array", "items": {"enum": list(OMITTABLE)}}),
    ] = Field(default_factory=list, description="fields that the server refuses")
    count_tokens: CountTokens = Field(
        "auto",
        description="who tells, before the run, how many tokens a word makes, so that prompts are "
        "as long as planned: the server's usage, its /tokenize, or nobody (words: a word a token)",
    )
    tokenizer: str | None = Field(
        None,
        min_length=1,
        description="in place of that: the path of a tokenizer.json, or of its folder",
    )
    prefix_cache: PrefixCache = Field(
        "isolate", description="what a trial may find there of another: isolate, shared, {reset: …}"
    )
    cache_salt: CacheSalt = Field(
        "auto", description="isolate by a `cache_salt` field; auto: where the server is a vLLM"
    )
    metrics_url: Annotated[str | None, AfterValidator(checked_metrics_url)] = Field(
        None,
        description="its Prometheus page (mostly /metrics), read each second; names as of vLLM, "
        "llama.cpp, SGLang, TGI, LiteLLM",
    )
    proxy: Annotated[str | None, AfterValidator(checked_proxy)] = Field(
        None,
        description="an HTTP proxy for the server and its metrics page, http://HOST:PORT; those of "
        "the environment (HTTP_PROXY) are never used",
    )
    tls: Tls = Field(default=Tls(), description="how the certificate of an https server is checked")
    timeout_s: float = Field(10.0, gt=0, description="for a look at the server")

    def resolve(self, model: str | None) -> Self:
        """Returns the settings as they are: the model's name is the server's matter, and may differ
        from the workload's."""
        if self.api == "chat" and self.prompts == "token_ids":
            raise EngineInputError("api: chat takes no token ids; set prompts: text")
        self._check_urls()
        if not self.asks_models and self.model is None:
            raise EngineInputError("check_model: false needs the model's name; set model")
        self._check_keys()
        self._check_tokenizer()
        check_form(self.rename, self.omit, self.extra_body)
        check_prefix_cache(self.prefix_cache, self.cache_salt, self.extra_body)
        return self

    def check_files(self) -> None:
        if self.tls.ca_file is not None:
            tls_context(self.tls)

    @property
    def urls(self) -> tuple[str, ...]:
        """Returns the base URLs as written."""
        return (self.base_url,) if self.base_url is not None else tuple(self.base_urls or ())

    @property
    def unheard_priorities(self) -> str | None:
        if self.priority or "priority" in self.filled_places:
            return None
        return (
            "set priority: true if its server takes them, or put ${priority} into a header or "
            "extra_body"
        )

    @property
    def filled_places(self) -> set[str]:
        return places_in([self.headers, self.extra_body])

    def facts(self) -> EngineFacts:
        return EngineFacts(is_attached=True)

    def remarks(self) -> list[str]:
        if self.tls.verify:
            return []
        return [
            "unverified: tls.verify is false, so whoever answered was believed to be the server"
        ]

    def _check_urls(self) -> None:
        if (self.base_url is None) == (self.base_urls is None):
            if self.base_url is None:
                raise EngineInputError(
                    "base_url is missing; write the server's, e.g. http://127.0.0.1:8000/v1"
                )
            raise EngineInputError("base_url and base_urls are both given; leave one of them")
        twice = next((each for each in self.urls if self.urls.count(each) > 1), None)
        if twice is not None:
            raise EngineInputError("base_urls names a server twice; name each once")
        if self.tls != Tls() and all(url.startswith("http:") for url in self.urls):
            raise EngineInputError(
                "tls is for https, and the server has a URL with http://; mend one of them"
            )

    def _check_tokenizer(self) -> None:
        if self.tokenizer is None:
            return
        if self.prompts == "token_ids":
            raise EngineInputError("tokenizer has no effect with prompts: token_ids; leave it out")
        path = Path(self.tokenizer).expanduser()
        if not (path / "tokenizer.json").is_file() and path.name != "tokenizer.json":
            raise EngineInputError(
                f"tokenizer: {path} is no folder with a tokenizer.json; name one, or that file"
            )
        if not path.exists():
            raise EngineInputError(f"tokenizer: {path} is not there; name the file or its folder")

    def _check_keys(self) -> None:
        """Refuses two keys for one server."""
        given = [f"headers.{each}" for each in self.headers if each.lower() == "authorization"]
        given += ["api_key_env"] * (self.api_key_env is not None)
        given += ["the URL's user"] * any("@" in url.split("/")[2] for url in self.urls)
        if len(given) > 1:
            raise EngineInputError(
                f"{' and '.join(given)} both say who asks (Authorization); leave one of them"
            )
