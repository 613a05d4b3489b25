"""The main figures of a report as PNG files, drawn by a headless Chromium from the page itself."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from reports.drawing.browser import open_browser
from suite.errors import RunError

# Beginnings of the figures' ids: what stands for a run in a slide or a README.
MAIN = ("slo-", "tail-", "ecdf-", "heat-", "timeline-", "latency_shares", "kv-", "sweep-", "ratios")
WIDTH, SCALE = 760, 2
NOT_IN_A_NAME = r"[^\w.+-]"  # a user class may be called anything


def write_images(page: Path, directory: Path) -> list[Path]:
    """Writes one file a main figure, named by its id. Raises RunError where no browser is found."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with open_browser() as browser:
        browser.call("Emulation.setEmulatedMedia", features=[_LIGHT])
        browser.open(page)
        names = browser.evaluate("[...document.querySelectorAll('.plot')].map(each => each.id)")
        for name in (each for each in names if each.startswith(MAIN)):
            address = browser.evaluate(f"pictureOf({json.dumps(name)}, {WIDTH}, {SCALE})")
            path = directory / f"{re.sub(NOT_IN_A_NAME, '_', name)}.png"
            path.write_bytes(base64.b64decode(address.partition(",")[2]))
            written.append(path)
    if not written:
        raise RunError(f"{page}: holds none of the main figures; nothing was measured")
    return written


_LIGHT = {"name": "prefers-color-scheme", "value": "light"}
