"""A fake vLLM to start, and a look at what it leaves behind."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import is_running

FAKE = Path(__file__).with_name("fake_vllm.py")


@dataclass(frozen=True, slots=True)
class FakeVllm:
    directory: Path
    fault: str

    @property
    def settings(self) -> dict[str, Any]:
        """As a workload file has them."""
        return {
            "kind": "vllm",
            "executable": str(self.directory / "vllm"),
            "model": str(self.directory / "tiny"),
            "kv_tokens": 1024,
            "stop_grace_s": 0.3,
            "start_timeout_s": 120.0,
            "env": {
                "FAKE_VLLM": self.fault,
                "FAKE_VLLM_PIDS": str(self.directory / "pids"),
                "FAKE_VLLM_SEEN": str(self.directory / "seen"),
            },
        }

    @property
    def pids(self) -> list[int]:
        path = self.directory / "pids"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def arguments(self) -> list[str]:
        found: list[str] = self._seen()[0]
        return found

    def bodies(self) -> list[dict[str, Any]]:
        return [each for each in self._seen() if isinstance(each, dict)]

    def num_resets(self) -> int:
        return self._seen().count("reset")

    def _seen(self) -> list[Any]:
        return [json.loads(line) for line in (self.directory / "seen").read_text().splitlines()]

    def check_nothing_is_left(self, *, at_least: int = 2) -> None:
        """Of so many processes: the server and its worker, if it got that far."""
        assert len(self.pids) >= at_least
        for _ in range(3000):
            left = [pid for pid in self.pids if is_running(pid)]
            if not left:
                return
            time.sleep(0.02)
        pytest.fail(f"still running: {left}")


@pytest.fixture
def fake_vllm(tmp_path: Path) -> Callable[..., FakeVllm]:
    def make(fault: str = "") -> FakeVllm:
        program = tmp_path / "vllm"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FAKE} "$@"\n')
        program.chmod(0o755)
        (tmp_path / "tiny").mkdir()
        (tmp_path / "tiny/config.json").write_text('{"max_position_embeddings": 512}')
        return FakeVllm(tmp_path, fault)

    return make
