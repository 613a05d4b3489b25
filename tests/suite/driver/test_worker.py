"""A worker whose disk is full: the parent must hear of it, whatever else fails."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.driver.link import ParentEnd
from suite.driver.worker import Worker
from suite.driver.worker_config import WorkerConfig
from tests.suite.driver.conftest import ScriptedEngine
from workloads.plan import Plan


class FullDisk:
    def __init__(self, path: Path, schema: object, *, rows_per_batch: int) -> None:
        pass

    def append(self, row: object) -> None:
        raise OSError("No space left on device")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        raise OSError("No space left on device")


def test_records_that_can_not_be_written_are_told_to_the_parent_in_one_line(
    tmp_path: Path,
    engine: ScriptedEngine,
    make_plan: Callable[..., Plan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("suite.driver.worker.ArrowLog", FullDisk)
    make_plan(num_output_tokens=2).write(tmp_path / "plan.parquet")
    ours, theirs = socket.socketpair()
    config = WorkerConfig(
        role="alone",
        plan_path=tmp_path / "plan.parquet",
        shard_path=tmp_path / "turns-0.arrows",
        worker=0,
        num_workers=1,
        turn_timeout_s=60.0,
        link_fd=theirs.detach(),
        parent_pid=os.getpid(),
    )
    ended: list[bool] = []
    worker = Worker(
        config, engine.endpoint(), on_turn=lambda record: None, on_end=lambda: ended.append(True)
    )
    gc.unfreeze()
    with pytest.raises(ExceptionGroup):
        worker._run(time.monotonic_ns())  # what `start` does in a thread of its own

    parent = ParentEnd(ours)
    last = parent.receive()[-1]
    assert (last.kind, last.message) == ("failed", "OSError: No space left on device")
    assert parent.is_closed
    assert ended
    parent.close()
