"""Processes as a test sees them from outside, where each may end between two looks."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil


def is_running(pid: int) -> bool:
    """A zombie is not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before, or after, it was opened
        return False
    return status != "Z"


def descendants(pid: int, word: str) -> list[psutil.Process]:
    """Those that run with `word` within their command line."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(word in each for each in process.cmdline()):
                found.append(process)
    return found
