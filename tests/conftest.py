"""What holds for every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before torch is imported: its threads only get into each other's way on tensors as small as these.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background ignores Ctrl-C, and so would all that is started from here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No example is too slow: tests never judge speed, least of all on a busy machine.
settings.register_profile("fsbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fsbench")


@pytest.fixture
def real_trace() -> Callable[[str], Path]:
    """A real trace by file name; the test is skipped where there are none."""
    beside_the_repository = Path(__file__).parents[2] / "shared" / "traces"
    folder = Path(os.environ.get("FSBENCH_TRACES", beside_the_repository))

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"no {name}; set FSBENCH_TRACES to a folder that has it")
        return folder / name

    return find
