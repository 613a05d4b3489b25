"""The place at which a server is asked: address, path, and a proxy if the file names one.

Proxies of the environment (HTTP_PROXY) are not heeded: what is measured is what the file says.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from engines.tls import Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    host: str
    port: int
    authorization: str | None  # a header's value

    @classmethod
    def from_url(cls, proxy_url: str) -> Proxy:
        url = urlsplit(proxy_url)
        authorization = None
        if url.username is not None:
            words = f"{unquote(url.username)}:{unquote(url.password or '')}"
            authorization = "Basic " + base64.b64encode(words.encode()).decode()
        return cls(
            host=url.hostname or "localhost", port=url.port or 80, authorization=authorization
        )

    @property
    def header(self) -> str:
        """A line of a request's head, or nothing."""
        return f"Proxy-Authorization: {self.authorization}\r\n" if self.authorization else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    host: str
    port: int
    path: str  # of the base URL, without a slash at its end
    is_tls: bool
    proxy: Proxy | None = None
    query: str = ""  # of the base URL, with its question mark; ends each request's path
    tls: Tls | None = None

    @classmethod
    def from_url(
        cls, base_url: str, proxy_url: str | None = None, tls: Tls | None = None
    ) -> Target:
        url = urlsplit(base_url)
        is_tls = url.scheme == "https"
        return cls(
            host=url.hostname or "localhost",
            port=url.port or (443 if is_tls else 80),
            path=url.path.rstrip("/"),
            is_tls=is_tls,
            proxy=None if proxy_url is None else Proxy.from_url(proxy_url),
            query=f"?{url.query}" if url.query else "",
            tls=tls,
        )

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"

    @property
    def first_hop(self) -> tuple[str, int]:
        """Returns the host and port to connect to."""
        hop = self.proxy or self
        return hop.host, hop.port

    @property
    def is_tunnelled(self) -> bool:
        """Whether it is reached through a proxy that sees nothing but bytes."""
        return self.proxy is not None and self.is_tls

    @property
    def request_path(self) -> str:
        """Returns what requests begin with; a proxy that reads them is told the server too."""
        is_read = self.proxy is not None and not self.is_tls
        return f"http://{self.host_header}{self.path}" if is_read else self.path

    @property
    def proxy_authorization(self) -> str | None:
        """Returns what each request tells a proxy that reads it, if anything."""
        return self.proxy.authorization if self.proxy is not None and not self.is_tls else None

    def __str__(self) -> str:
        way = f" through the proxy {self.proxy.host}:{self.proxy.port}" if self.proxy else ""
        return f"{self.host}:{self.port}{way}"
