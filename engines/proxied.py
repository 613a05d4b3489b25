"""One way to a server for all who ask it: through the proxy that the file names, else straight."""

from __future__ import annotations

import urllib.request


def opener_through(proxy: str | None) -> urllib.request.OpenerDirector:
    """Returns what opens URLs so. Proxies of the environment (HTTP_PROXY) are never used: what is
    measured is what the file says."""
    proxies = {} if proxy is None else dict.fromkeys(("http", "https"), proxy)
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
