"""`kind: openai`: any OpenAI-compatible server that is already running."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from engines.api import Endpoint, EngineSettings, PriorityUpdates, RunningEngine
from engines.errors import EngineError, EngineInputError
from engines.facts import EngineFacts
from engines.proxied import opener_through
from engines.separation import CacheSalt, PrefixCache, Server, check_prefix_cache, separate
from engines.server_metrics import CounterWatch, logged_server_metrics

WANTS_A_KEY = (401, 403)
NO_SUCH_ROUTE = (404, 405, 501)  # some servers list no models; then the file's word counts
IS_BROKEN = 500  # `transformers serve` lists its cache, which need not be there; likewise


def _is_base(url: str) -> str:
    if not re.match(r"https?://[^/]", url):
        raise ValueError(f"must be written like http://127.0.0.1:8000/v1, got {url!r}")
    base, _, _ = url.rstrip("/").partition("/chat/completions")
    base = base.removesuffix("/completions")
    if base != url.rstrip("/"):
        raise ValueError(
            f"must be what stands before an endpoint's name, got {url!r}; write {base}"
        )
    return url


class OpenAISettings(EngineSettings):
    """`kind: openai`, attach to a base URL."""

    kind: Literal["openai"] = "openai"
    base_url: Annotated[str, AfterValidator(_is_base)] = Field(
        description="as clients use it, mostly ending in /v1"
    )
    model: str | None = Field(None, description="as the server calls it; default: its only model")
    api: Literal["completions", "chat"] = "completions"
    prompts: Literal["token_ids", "text"] = Field(
        "text", description="token_ids where the server takes and returns them (vLLM does)"
    )
    api_key_env: str | None = Field(None, description="environment variable that holds the key")
    ignore_eos: bool = Field(True, description="ask for the planned answer length exactly")
    priority: bool = Field(False, description="the server takes a `priority` field")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="added to each request")
    prefix_cache: PrefixCache = Field(
        "isolate", description="what a trial may find there of another: isolate, shared, {reset: …}"
    )
    cache_salt: CacheSalt = Field(
        "auto", description="isolate by a `cache_salt` field; auto: where the server is a vLLM"
    )
    metrics_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="its Prometheus page (mostly /metrics), read each second; names as of vLLM, "
        "llama.cpp, SGLang, TGI, LiteLLM",
    )
    proxy: str | None = Field(
        None,
        pattern=r"^http://[^/]+/?$",
        description="an HTTP proxy for the server and its metrics page, http://HOST:PORT; those of "
        "the environment (HTTP_PROXY) are never used",
    )
    timeout_s: float = Field(10.0, gt=0, description="for a look at the server")

    def resolve(self, model: str | None) -> Self:
        """Returns the settings as they are: the model's name is the server's matter, and may differ
        from the workload's."""
        if self.api == "chat" and self.prompts == "token_ids":
            raise EngineInputError("api: chat takes no token ids; set prompts: text")
        check_prefix_cache(self.prefix_cache, self.cache_salt, self.extra_body)
        return self

    @property
    def unheard_priorities(self) -> str | None:
        return None if self.priority else "set priority: true if its server takes them"

    def facts(self) -> EngineFacts:
        return EngineFacts(is_attached=True)

    @contextmanager
    def running(
        self, *, name: str, directory: Path, priorities: PriorityUpdates | None
    ) -> Iterator[RunningEngine]:
        """Attaches to the server; nothing is started."""
        endpoint = find_endpoint(name, self)
        with _watched_metrics(self, directory) as watch:
            yield AttachedServer(endpoint, watch)


@dataclass(frozen=True, slots=True)
class AttachedServer:
    endpoint: Endpoint
    counters: CounterWatch | None = None
    version: str | None = None  # told by the server's own pages, or by its answers

    def is_alive(self) -> bool:
        return True  # not ours to watch: a dead server shows as failed turns

    def death_note(self) -> str:
        return "a server that was attached to is not watched"

    def remarks(self) -> list[str]:
        remark = None if self.counters is None else self.counters.remark()
        return [] if remark is None else [remark]


def find_endpoint(name: str, settings: OpenAISettings) -> Endpoint:
    """Returns where and how the server is asked, its model found from what it lists.

    Raises EngineError where nothing usable answers, EngineInputError where the settings lack a key
    or a model.
    """
    api_key = _api_key(name, settings)
    served = _served_models(name, settings, api_key)
    return Endpoint(
        base_url=settings.base_url.rstrip("/"),
        model=_chosen_model(name, settings, served),
        api=settings.api,
        prompt_form=settings.prompts,
        api_key=api_key,
        extra_body={
            **({"ignore_eos": True} if settings.ignore_eos else {}),
            **settings.extra_body,
        },
        is_fsbench=False,
        applies_priority_trace=False,
        takes_priority=settings.priority,
        proxy=settings.proxy,
        separation=separate(
            name,
            settings.prefix_cache,
            Server(settings.base_url, api_key, settings.timeout_s, settings.proxy),
            cache_salt=settings.cache_salt,
        ),
    )


def _watched_metrics(
    settings: OpenAISettings, directory: Path
) -> AbstractContextManager[CounterWatch | None]:
    url, timeout_s = settings.metrics_url, settings.timeout_s
    if url is None:
        return nullcontext()
    opener = opener_through(settings.proxy)

    def read_page() -> str:
        try:
            with opener.open(url, timeout=timeout_s) as reply:
                page: bytes = reply.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        return page.decode(errors="replace")

    return logged_server_metrics(directory, read_page, where=f"metrics_url {url}")


def _api_key(name: str, settings: OpenAISettings) -> str | None:
    if settings.api_key_env is None:
        return None
    key = os.environ.get(settings.api_key_env)
    if not key:
        raise EngineInputError(
            f"{_key(name, 'api_key_env')} names {settings.api_key_env}, which is not set; export it"
        )
    return key


def _served_models(name: str, settings: OpenAISettings, api_key: str | None) -> list[str]:
    url = f"{settings.base_url.rstrip('/')}/models"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with opener_through(settings.proxy).open(request, timeout=settings.timeout_s) as reply:
            return [str(entry["id"]) for entry in json.load(reply)["data"]]
    except urllib.error.HTTPError as error:
        with error:
            if settings.model is not None and error.code in (*NO_SUCH_ROUTE, IS_BROKEN):
                return [settings.model]
            refusal = EngineInputError if error.code in WANTS_A_KEY else EngineError
            advice = _advice(error.code, name, settings)
            raise refusal(f"{url} answers {error.code} {error.reason}; {advice}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        advice = f"start the server or mend {_key(name, 'base_url')}"
        if isinstance(reason, ssl.SSLError):
            advice = (
                "SSL_CERT_FILE names a file with certificates of one's own; "
                "a server without TLS has a base_url with http://"
            )
        why = getattr(reason, "strerror", None) or reason
        raise EngineError(f"no answer from {url} ({why}); {advice}") from None
    except (ValueError, KeyError, TypeError):
        raise EngineError(
            f"{url} does not list models as OpenAI's API does; check {_key(name, 'base_url')}"
        ) from None


def _advice(status: int, name: str, settings: OpenAISettings) -> str:
    """Returns what to do about an answer that is none."""
    if status in WANTS_A_KEY and settings.api_key_env:
        return f"is the key in {settings.api_key_env} right?"
    if status in WANTS_A_KEY:
        variable = f"{_key(name, 'api_key_env')}=VARIABLE"
        return f"it wants a key: export it in an environment variable and name that, {variable}"
    if status in NO_SUCH_ROUTE:
        return (
            f"{_key(name, 'base_url')} mostly ends in /v1; where the server lists no models, set "
            f"{_key(name, 'model')}"
        )
    if status == IS_BROKEN:
        return (
            f"look at the server's log; where only its list of models is broken, set "
            f"{_key(name, 'model')}, and {_key(name, 'api_key_env')} where it wants a key"
        )
    return f"look at the server's log, and at {_key(name, 'base_url')}"


def _key(name: str, key: str) -> str:
    """Returns the key as it is named in a file's nesting and after `--set`."""
    return f"engines.{name}.{key}"


def _chosen_model(name: str, settings: OpenAISettings, served: list[str]) -> str:
    if settings.model is not None:
        if served and settings.model not in served:
            raise EngineInputError(
                f"the server has no model {settings.model!r}; set {_key(name, 'model')} to one of: "
                f"{', '.join(served)}"
            )
        return settings.model
    if not served:
        raise EngineInputError(f"the server lists no models; set {_key(name, 'model')}")
    if len(served) > 1:
        raise EngineInputError(
            f"the server lists {len(served)} models; set {_key(name, 'model')} to one of: "
            f"{', '.join(served)}"
        )
    return served[0]
