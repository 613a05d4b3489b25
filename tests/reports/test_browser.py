"""The page in a real browser: every figure drawn, nothing on the console, nothing fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reports.html import write_report
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--virtual-time-budget=8000",
    "--enable-logging=stderr",
]
BROWSERS_OWN = re.compile(r"https?://[^/]*\.(google|googleapis|gvt1)\.com(:\d+)?/")
DRAWN = re.compile(r'<div class="plot[^"]*js-plotly-plot[^"]*" id="([^"]+)"')


@dataclass(frozen=True)
class Visit:
    dom: str
    console: list[str]
    requests: set[str]


def visit(page: Path, folder: Path, *flags: str) -> Visit:
    """Open the page, wait until it is quiet; its DOM, console lines and web addresses asked for."""
    net_log = folder / "net.json"
    done = subprocess.run(
        [
            str(CHROMIUM),
            *QUIET,
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={net_log}",
            *flags,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    asked = re.findall(r'"url":"(https?://[^"]+)"', net_log.read_text())
    requests = {url for url in asked if not BROWSERS_OWN.match(url)}
    return Visit(dom=done.stdout, console=console, requests=requests)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(
        write_run(
            tmp_path_factory.mktemp("run"),
            {"fastswitch": FAST, "vllm-0.3": replace(SLOW, fail_ratio=0.05, lost_ratio=0.02)},
            plan=make_plan(num_conversations=20),
            repeats=1,
            gates=("ttft.p50 <= 1.5s",),
            baseline="vllm-0.3",
        )
    )


@pytest.mark.parametrize(
    "flags",
    [(), ("--blink-settings=preferredColorScheme=0", "--window-size=420,900")],
    ids=["light-wide", "dark-narrow"],
)
def test_every_figure_is_drawn_without_a_word_on_the_console_or_the_network(
    report, tmp_path, flags
):
    planned = set(re.findall(r'data-figure="([^"]+)"', report.read_text()))
    seen = visit(report, tmp_path, *flags)
    assert seen.console == []
    assert seen.requests == set()
    assert set(DRAWN.findall(seen.dom)) == planned
    assert f'data-drawn="{len(planned)}"' in seen.dom
    for drawing in DRAWN.split(seen.dom)[2::2]:
        assert re.search(r'class="(points|lines|scatterlayer|point|js-line)', drawing)
        assert "<path" in drawing


def test_the_browser_check_would_see_a_request_and_an_error(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text('<script src="http://127.0.0.1:9/x.js"></script><script>oops()</script>')
    seen = visit(page, tmp_path)
    assert "http://127.0.0.1:9/x.js" in seen.requests
    assert any("oops is not defined" in line for line in seen.console)
