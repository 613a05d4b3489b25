"""Waits for a server that is starting: until it answers anything but that it is not ready."""

from __future__ import annotations

import time
import urllib.error

from engines.errors import EngineError
from engines.secrets import shown_url
from engines.separation import Server

LOOK_INTERVAL_S = 0.5
# Too many requests (a gateway's, while its backends start), and what stands before a server that
# is not there yet.
NOT_READY = (429, 502, 503, 504)


def wait_until_ready(server: Server, *, key: str, wait_s: float) -> None:
    """Returns once the server answers. `key` is the setting's name in the file. Raises EngineError
    where it does not within `wait_s`."""
    url = server.url("/models")
    deadline = time.monotonic() + wait_s
    while (why_not := _why_not_ready(server, url)) is not None:
        if time.monotonic() >= deadline:
            raise EngineError(
                f"{key}: {shown_url(url)} was not ready after {wait_s:g} s ({why_not}); look at "
                "the server's log, or give it longer"
            )
        time.sleep(min(LOOK_INTERVAL_S, max(0.0, deadline - time.monotonic())))


def _why_not_ready(server: Server, url: str) -> str | None:
    try:
        server.ask("GET", url)
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.reason}" if error.code in NOT_READY else None
    except OSError as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason)
    return None
