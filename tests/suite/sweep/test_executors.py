"""Processes that are killed, and a cluster that is not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suite.errors import RunError
from suite.sweep import ray_executor
from suite.sweep.cells import CellTask
from suite.sweep.executors import OverCores
from suite.sweep.ray_executor import OverRay, load_ray
from suite.sweep.run_cell import CellResult
from tests.suite.sweep.examples import sweep_of
from workloads.errors import InputError


def die_at_rate_8_seed_4(task: CellTask) -> CellResult:
    task.directory.mkdir(parents=True)
    if task.cell.name == "rate=8.0,seed=4":
        os.kill(os.getpid(), signal.SIGKILL)
    return CellResult(name=task.cell.name, status="complete", note=None, duration_s=0.0)


def tasks_of(folder: Path) -> list[CellTask]:
    _, _, cells = sweep_of(folder)
    return [CellTask(cell=cell, directory=folder / "cells" / cell.name) for cell in cells]


def test_a_killed_process_costs_its_own_cell_only(tmp_path: Path) -> None:
    results = list(OverCores(2, run=die_at_rate_8_seed_4).run(tasks_of(tmp_path)))
    assert sorted(result.name for result in results) == [
        "rate=2.0,seed=3",
        "rate=2.0,seed=4",
        "rate=8.0,seed=3",
        "rate=8.0,seed=4",
    ]
    (lost,) = (result for result in results if result.status != "complete")
    assert (lost.name, lost.status) == ("rate=8.0,seed=4", "failed")
    assert lost.note is not None and "killed" in lost.note
    assert len(list((tmp_path / "set-aside").glob("rate=8.0,seed=4-*"))) == 1


class FakeRay:
    """Its calls happen at once, in this process."""

    exceptions = SimpleNamespace(RayError=ArithmeticError)

    def __init__(self, lost: str | None = None, refuses: bool = False) -> None:
        self.addresses: list[str | None] = []
        self.is_down = False
        self._lost, self._refuses = lost, refuses

    def init(self, address: str | None, **_: Any) -> None:
        if self._refuses:
            raise ConnectionError("ray client connection timeout\nmore")
        self.addresses.append(address)

    def remote(self, **_: Any) -> Callable[..., Any]:
        return lambda function: SimpleNamespace(
            remote=lambda task: (task.cell.name, lambda: function(task))
        )

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference: Any) -> Any:
        name, call = reference
        if name == self._lost:
            raise ArithmeticError("node died")
        return call()

    def shutdown(self) -> None:
        self.is_down = True


def test_runs_on_a_cluster_come_back_whole_and_a_lost_one_is_said(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)[:2]
    ray = FakeRay(lost=tasks[1].cell.name)
    results = {each.name: each for each in OverRay(ray, "ray://head:10001").run(tasks)}
    assert ray.addresses == ["ray://head:10001"] and ray.is_down
    assert results[tasks[0].cell.name].status == "complete"
    for name in ("manifest.json", "metrics.json", "plan.parquet", "fastswitch/1/turns.parquet"):
        assert (tasks[0].directory / name).is_file()
    assert results[tasks[1].cell.name].note == "lost on the cluster: ArithmeticError"
    assert not tasks[1].directory.exists()


def test_ray_is_asked_for_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--on must be ray or ray://HOST:PORT, got 'dask'"):
        load_ray("dask")

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(ray_executor.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"ray is not installed; run pip install 'ray>="):
        load_ray("ray")
    with pytest.raises(RunError, match=r"--on ray: can not be reached: ray client conn[a-z ]+out$"):
        list(OverRay(FakeRay(refuses=True), "ray").run([]))
