"""Cells over a Ray cluster: what a node has written comes back as bytes, so no disk is shared.

Ray is an optional dependency and is imported only here, when it is asked for. Every node needs
the same fsbench; a workload's traces have to lie at the same path there.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.extras import install_command
from suite.errors import RunError
from suite.sweep.cells import CellTask
from suite.sweep.run_cell import CellResult, run_cell
from workloads.errors import InputError

LOCAL = "ray"  # else ray://HOST:PORT


class OverRay:
    """Runs as many cells at a time as the cluster has cores."""

    def __init__(self, ray: Any, address: str) -> None:
        self._ray = ray
        self._address = address

    def run(self, tasks: Sequence[CellTask]) -> Iterator[CellResult]:
        """Yields each result as it is there. Raises RunError if the cluster can not be reached."""
        ray = self._ray
        try:
            address = None if self._address == LOCAL else self._address
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, OSError, RuntimeError) as error:
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            raise RunError(f"--on {self._address}: can not be reached: {first_line}") from None
        try:
            remote = ray.remote(num_cpus=1)(run_packed)
            waiting = {remote.remote(task): task for task in tasks}
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1)
                yield self._received(ready[0], waiting.pop(ready[0]))
        finally:
            ray.shutdown()

    def _received(self, reference: Any, task: CellTask) -> CellResult:
        try:
            result, files = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            note = f"lost on the cluster: {type(error).__name__}"
            return CellResult(name=task.cell.name, status="failed", note=note, duration_s=0.0)
        unpack(files, task.directory)
        assert isinstance(result, CellResult), result
        return result


def load_ray(address: str) -> Any:
    """Returns the module. Raises InputError if it is not installed or `address` is none."""
    if address != LOCAL and not address.startswith("ray://"):
        raise InputError(f"--on must be ray or ray://HOST:PORT, got {address!r}")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise InputError(
            f"--on {address}: ray is not installed; run {install_command('ray')}, or leave --on "
            "out to use this machine's cores"
        ) from None


def run_packed(task: CellTask) -> tuple[CellResult, dict[str, bytes]]:
    """Runs the cell on a node, in a folder of its own; returns the result and the files it left."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "cells" / task.cell.name
        result = run_cell(replace(task, directory=directory))
        return result, pack(directory)


def pack(directory: Path) -> dict[str, bytes]:
    """Returns the files' bytes by their paths inside `directory`."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def unpack(files: dict[str, bytes], directory: Path) -> None:
    """Writes the files, metrics.json last: with it the cell counts as measured."""
    for name in sorted(files, key=lambda name: name == "metrics.json"):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
