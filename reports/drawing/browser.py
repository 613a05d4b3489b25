"""A headless Chromium over its debugging pipe: open a page, ask it things, close.

The Chrome DevTools protocol, as NUL-separated JSON on file descriptors 3 and 4: no port is opened,
and nothing but the browser itself is needed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite.errors import RunError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # containers rarely let it have one; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find_browser() -> str | None:
    """Returns the path of the first browser that is installed, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """Drives one page of a running browser. `events` holds all that the protocol has told, oldest
    first."""

    def __init__(self, to_browser: int, from_browser: int, timeout_s: float) -> None:
        self.events: list[dict[str, Any]] = []
        self._to, self._from, self._timeout_s = to_browser, from_browser, timeout_s
        self._buffer = b""
        self._last_id = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Returns the protocol's answer. Raises RunError: refused, or not in time."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._timeout_s
        while True:
            answer = self._next_message(deadline, method)
            if answer.get("id") != self._last_id:
                self.events.append(answer)
            elif "error" in answer:
                raise RunError(f"the browser refused {method}: {answer['error']['message']}")
            else:
                result: dict[str, Any] = answer["result"]
                return result

    def _next_message(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._from, 1 << 20) if ready else b""
            if not data:
                raise RunError(f"the browser did not answer {method} in {self._timeout_s:g} s")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def evaluate(self, script: str) -> Any:
        """Returns the value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            detail = answer["exceptionDetails"]
            text = detail.get("exception", {}).get("description", detail["text"])
            raise RunError(f"a script failed in the browser: {text}")
        return answer["result"].get("value")

    def open(self, page: Path) -> None:
        """Opens the page and waits until its figures are drawn. Raises RunError: not in time."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + self._timeout_s
        while self.evaluate("document.documentElement?.dataset.drawn ?? null") is None:
            if time.monotonic() > deadline:
                raise RunError(f"{page}: its figures were not drawn in {self._timeout_s:g} s")
            time.sleep(0.05)


@contextmanager
def open_browser(*flags: str, timeout_s: float = 60.0) -> Iterator[Browser]:
    """Starts a browser and ends it afterwards. Raises RunError where none is installed."""
    path = find_browser()
    if path is None:
        raise RunError(
            f"no browser was found to draw pictures with; install one of: {', '.join(NAMES)}"
        )
    to_browser_read, to_browser = os.pipe()
    from_browser, from_browser_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # A shell moves the pipes to the descriptors that the protocol asks for.
        move = f'exec "$0" "$@" 3<&{to_browser_read} 4>&{from_browser_write}'
        process = subprocess.Popen(
            ["bash", "-c", move, path, *FLAGS, *flags, f"--user-data-dir={profile}"],
            pass_fds=(to_browser_read, from_browser_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser_read)
        os.close(from_browser_write)
        try:
            yield Browser(to_browser, from_browser, timeout_s)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(to_browser)
            os.close(from_browser)
