"""One way to a server for all who ask it: through the proxy that the file names, else straight."""

from __future__ import annotations

import urllib.request

from engines.tls import Tls, tls_context


def opener_through(proxy: str | None, tls: Tls | None = None) -> urllib.request.OpenerDirector:
    """Returns what opens URLs so. Proxies of the environment (HTTP_PROXY) are never used: what is
    measured is what the file says. Raises EngineInputError."""
    proxies = {} if proxy is None else dict.fromkeys(("http", "https"), proxy)
    return urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPSHandler(context=tls_context(tls)),
    )
