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
# Before Triton is imported: without a GPU its kernels run in its interpreter, on CPU tensors.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# What a shell starts in the background ignores Ctrl-C, and so would all that is started from here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No example is too slow: tests never judge speed, least of all on a busy machine. In CI examples
# are the same each time, so that only a change can fail; elsewhere new ones are looked for.
settings.register_profile(
    "fsbench",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("fsbench")


# So that no worker is left alone with a long file at the end.
LONG_FIRST = (
    "test_every_combination.py",
    "test_wall_time.py",
    "end_to_end",
    "suite",
    "reports",
    "vllm",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        parts = item.path.relative_to(Path(__file__).parent).parts
        return next((i for i, name in enumerate(LONG_FIRST) if name in parts), len(LONG_FIRST))

    items.sort(key=place)


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
