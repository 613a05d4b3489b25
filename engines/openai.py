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
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from engines.api import Endpoint, EngineSettings, PriorityUpdates, RunningEngine
from engines.errors import EngineError, EngineInputError
from engines.server_metrics import logged_server_metrics

NO_SUCH_ROUTE = (404, 405, 501)  # some servers list no models; then the file's word counts


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
    metrics_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="its Prometheus page (/metrics, vLLM's names), read each second",
    )
    proxy: str | None = Field(
        None,
        pattern=r"^http://[^/]+/?$",
        description="an HTTP proxy for the server and its metrics page, http://HOST:PORT; those of "
        "the environment (HTTP_PROXY) are never used",
    )
    timeout_s: float = Field(10.0, gt=0, description="for a look at the server")


@dataclass(frozen=True, slots=True)
class AttachedServer:
    endpoint: Endpoint
    version: str | None = None  # a server need not say

    def is_alive(self) -> bool:
        return True  # not ours to watch: a dead server shows as failed turns

    def death_note(self) -> str:
        return "a server that was attached to is not watched"


class OpenAIKind:
    settings_type = OpenAISettings

    def resolve(self, settings: EngineSettings, model: str | None) -> OpenAISettings:
        assert isinstance(settings, OpenAISettings)
        if settings.api == "chat" and settings.prompts == "token_ids":
            raise EngineInputError("api: chat takes no token ids; set prompts: text")
        return settings

    def check_longest(self, settings: EngineSettings, num_tokens: int) -> None:
        """Nothing is known of its limits: it answers for itself."""

    @contextmanager
    def running(
        self,
        settings: EngineSettings,
        *,
        name: str,
        model: str | None,
        directory: Path,
        priorities: PriorityUpdates | None,
    ) -> Iterator[RunningEngine]:
        resolved = self.resolve(settings, model)
        api_key = _api_key(name, resolved)
        served = _served_models(name, resolved, api_key)
        with _watched_metrics(resolved, directory):
            yield AttachedServer(_endpoint(name, resolved, served, api_key))


def _endpoint(
    name: str, settings: OpenAISettings, served: list[str], api_key: str | None
) -> Endpoint:
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
    )


def _opener(settings: OpenAISettings) -> urllib.request.OpenerDirector:
    """The same way that the load takes, whatever the environment says."""
    proxies = {} if settings.proxy is None else dict.fromkeys(("http", "https"), settings.proxy)
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies))


def _watched_metrics(settings: OpenAISettings, directory: Path) -> AbstractContextManager[None]:
    url, timeout_s = settings.metrics_url, settings.timeout_s
    if url is None:
        return nullcontext()
    opener = _opener(settings)

    def read_page() -> str:
        try:
            with opener.open(url, timeout=timeout_s) as reply:
                page: bytes = reply.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        return page.decode(errors="replace")

    return logged_server_metrics(directory, read_page)


def _api_key(name: str, settings: OpenAISettings) -> str | None:
    if settings.api_key_env is None:
        return None
    key = os.environ.get(settings.api_key_env)
    if not key:
        raise EngineInputError(
            f"engine {name!r}: api_key_env names {settings.api_key_env}, which is not set; "
            "export it"
        )
    return key


def _served_models(name: str, settings: OpenAISettings, api_key: str | None) -> list[str]:
    url = f"{settings.base_url.rstrip('/')}/models"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with _opener(settings).open(request, timeout=settings.timeout_s) as reply:
            return [str(entry["id"]) for entry in json.load(reply)["data"]]
    except urllib.error.HTTPError as error:
        with error:
            if settings.model is not None and error.code in NO_SUCH_ROUTE:
                return [settings.model]
            raise EngineError(
                f"engine {name!r}: {url} answers {error.code} {error.reason}; "
                f"{_advice(error.code, settings)}"
            ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        advice = "start the server or mend base_url"
        if isinstance(reason, ssl.SSLError):
            advice = (
                "SSL_CERT_FILE names a file with certificates of one's own; "
                "a server without TLS has a base_url with http://"
            )
        raise EngineError(f"engine {name!r}: no answer from {url} ({reason}); {advice}") from None
    except (ValueError, KeyError, TypeError):
        raise EngineError(
            f"engine {name!r}: {url} does not list models as OpenAI's API does; check base_url"
        ) from None


def _advice(status: int, settings: OpenAISettings) -> str:
    """What to do about an answer that is none."""
    if status in (401, 403):
        named = settings.api_key_env
        return f"is the key in {named} right?" if named else "name the key's variable: api_key_env"
    if status in NO_SUCH_ROUTE:
        return "base_url mostly ends in /v1; set model: where the server lists none"
    return "check base_url and api_key_env"


def _chosen_model(name: str, settings: OpenAISettings, served: list[str]) -> str:
    if settings.model is not None:
        if served and settings.model not in served:
            raise EngineInputError(
                f"engine {name!r}: the server has no model {settings.model!r}; "
                f"choose one of: {', '.join(served)}"
            )
        return settings.model
    if len(served) != 1:
        raise EngineInputError(
            f"engine {name!r}: the server lists {len(served)} models; set model: to one of: "
            f"{', '.join(served)}"
        )
    return served[0]
