"""A server that is attached to: what is sent to it, who of several answers, which model it is asked
for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from engines.api import Endpoint
from engines.attached_settings import AttachedSettings
from engines.base_url import BaseUrl, with_environment
from engines.errors import EngineError, EngineInputError
from engines.headers import key_from_environment, prepared_headers
from engines.readiness import wait_until_ready
from engines.request_form import environment_of
from engines.secrets import hidden, is_secret_name, shown_url
from engines.separation import Separation, Server, separate
from engines.served_models import ModelLook
from engines.server_metrics import CounterWatch, logged_server_metrics
from engines.templates import NOBODY, fill, prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An engine's settings with what the environment adds to them; nothing is asked yet."""

    name: str  # the engine's in the file
    settings: AttachedSettings
    urls: tuple[BaseUrl, ...]
    api_key: str | None
    headers: dict[str, str]  # prepared, of all servers
    extra_body: dict[str, Any]  # prepared
    proxy: str | None
    secrets: tuple[str, ...]

    @classmethod
    def of(cls, name: str, settings: AttachedSettings, environment: Mapping[str, str]) -> Self:
        """Reads the environment's variables that the settings name. Raises EngineInputError."""
        where = f"engines.{name}"
        key_env, proxy = settings.api_key_env, settings.proxy
        urls = tuple(
            _named(f"{where}.base_url", BaseUrl.from_text, url, environment)
            for url in settings.urls
        )
        if len({each.authorization for each in urls}) > 1:
            raise EngineInputError(
                f"{where}.base_urls name different users and passwords; give all the same, or "
                "write an engine for each"
            )
        extra_body = _named(f"{where}.extra_body", prepared, settings.extra_body, environment)
        if proxy is not None:
            proxy = _named(f"{where}.proxy", with_environment, proxy, environment)
        found = cls(
            name=name,
            settings=settings,
            urls=urls,
            api_key=key_env and key_from_environment(key_env, environment, f"{where}.api_key_env"),
            headers={
                **_authorization(urls[0]),
                **prepared_headers(settings.headers, environment, f"{where}.headers"),
            },
            extra_body=extra_body,
            proxy=proxy,
            secrets=(),
        )
        return found._with_secrets(environment)

    @property
    def servers(self) -> list[Server]:
        headers = fill(self.headers, NOBODY)
        return [
            Server(
                url.text,
                self.api_key,
                self.settings.timeout_s,
                self.proxy,
                headers=headers,
                tls=self.settings.tls,
            )
            for url in self.urls
        ]

    def endpoint(self) -> Endpoint:
        """Returns where and how the server is asked; waits for it where the settings say so.
        Raises EngineError, EngineInputError."""
        try:
            return self._endpoint()
        except (EngineError, EngineInputError) as error:  # a server may say what it was told
            raise type(error)(hidden(str(error), self.secrets)) from None

    def _endpoint(self) -> Endpoint:
        settings = self.settings
        if settings.wait_ready:
            for server in self.servers:
                key = f"engines.{self.name}.wait_ready"
                wait_until_ready(server, key=key, wait_s=settings.wait_ready)
        first, *others = self.urls
        return Endpoint(
            base_url=first.text,
            other_base_urls=tuple(each.text for each in others),
            balance=settings.balance,
            model=self._model(),
            api=settings.api,
            prompt_form=settings.prompts,
            api_key=self.api_key,
            headers=self.headers,
            extra_body={
                **({"ignore_eos": True} if settings.ignore_eos else {}),
                **self.extra_body,
            },
            renamed=settings.rename,
            omitted=tuple(settings.omit),
            is_fsbench=False,
            applies_priority_trace=False,
            takes_priority=settings.priority,
            proxy=self.proxy,
            tls=settings.tls.absolute(),
            separation=self._separation(),
            secrets=self.secrets,
            count_tokens=settings.count_tokens,
            tokenizer=settings.tokenizer and str(Path(settings.tokenizer).expanduser().absolute()),
        )

    def _model(self) -> str:
        settings = self.settings
        if not settings.asks_models:
            assert settings.model is not None, "settings are resolved before they run"
            return settings.model
        has_own_key = any(each.lower() == "authorization" for each in self.headers)
        looks = [
            ModelLook(
                engine=self.name,
                server=server,
                model=settings.model,
                api_key_env=settings.api_key_env,
                has_own_key=has_own_key or bool(settings.headers),
                url_key="base_url" if len(self.urls) == 1 else f"base_urls.{place}",
            )
            for place, server in enumerate(self.servers)
        ]
        models = [look.chosen() for look in looks]
        if len(set(models)) > 1:
            raise EngineInputError(
                f"engines.{self.name}.base_urls serve different models ({', '.join(models)}); name "
                "servers of one model, or write an engine for each"
            )
        return models[0]

    def _separation(self) -> Separation:
        """Returns how trials are kept apart, as all servers can."""
        settings = self.settings
        can_be_asked = settings.asks_models or settings.cache_salt != "auto"
        found = {
            separate(
                self.name,
                settings.prefix_cache,
                server,
                cache_salt=settings.cache_salt if can_be_asked else False,
            )
            for server in self.servers
        }
        return found.pop() if len(found) == 1 else "words"

    def _with_secrets(self, environment: Mapping[str, str]) -> Self:
        settings = self.settings
        variables = environment_of([settings.headers, settings.extra_body])
        variables |= environment_of([*settings.urls, settings.proxy or ""])
        secrets = {environment[name].strip() for name in variables}
        secrets |= {self.api_key or ""}
        for name, value in self.headers.items():
            if is_secret_name(name):
                secrets |= {value, *value.split()[1:]}
        for text in (*settings.urls, self.proxy or "", settings.metrics_url or ""):
            secrets |= _secrets_of_url(with_environment(text, environment))
        secrets.discard("")
        values = {field: getattr(self, field) for field in self.__dataclass_fields__}
        return type(self)(**{**values, "secrets": tuple(sorted(secrets))})


def watched_metrics(
    attachment: Attachment, directory: Path
) -> AbstractContextManager[CounterWatch | None]:
    """Reads the server's Prometheus page each second, where the settings name one."""
    metrics_url = attachment.settings.metrics_url
    if metrics_url is None:
        return nullcontext()
    server, url = counter_page(attachment.servers[0], metrics_url)
    return logged_server_metrics(
        directory,
        lambda: server.ask("GET", url).decode(errors="replace"),
        where=f"metrics_url {shown_url(url)}",
    )


def counter_page(server: Server, metrics_url: str) -> tuple[Server, str]:
    """Returns who is asked for the counters of `server`, and at which URL. Another host than the
    server's gets none of its keys."""
    url = BaseUrl.from_text(metrics_url, {})
    if urlsplit(url.text)[:2] != urlsplit(server.base_url)[:2]:
        server = replace(server, api_key=None, headers={})
    return replace(server, headers={**server.headers, **_authorization(url)}), url.text


def _authorization(url: BaseUrl) -> dict[str, str]:
    return {} if url.authorization is None else {"Authorization": url.authorization}


def _secrets_of_url(text: str) -> set[str]:
    url = urlsplit(text)
    found = {value for name, value in parse_qsl(url.query) if is_secret_name(name)}
    if url.password:
        found |= {url.password, unquote(url.password)}
    return found


def _named(where: str, read: Any, value: Any, environment: Mapping[str, str]) -> Any:
    """Returns what `read` makes of the value; an error says where it stands."""
    try:
        return read(value, environment)
    except EngineInputError as error:
        raise EngineInputError(f"{where}: {error}") from None
