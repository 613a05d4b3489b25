"""`fsbench view --serve` as a process: one page on loopback, nothing beside it, ended by Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest


def test_one_page_is_served_until_interrupted(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<h1>the page</h1>")
    (tmp_path / "metrics.json").write_text("{}")
    command = [sys.executable, "-m", "suite.cli", "view", str(tmp_path), "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=120) as answer:
                assert answer.read() == b"<h1>the page</h1>"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}metrics.json", timeout=120)
            refused.value.close()
            assert refused.value.code == 404
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
