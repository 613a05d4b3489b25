"""A sweep's directory: cells that are complete stay as they are, the others are run into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engines.secrets import without_secrets
from suite.playing import environment
from suite.records.play_result import interrupt_note
from suite.records.run_directory import Manifest
from suite.sweep.cells import CellTask, SweepCell
from suite.sweep.executors import Executor
from suite.sweep.manifest import AxisEntry, CellEntry, SweepKind, SweepManifest
from suite.sweep.run_cell import CellResult, set_aside
from suite.sweep.summary import write_summary
from workloads.errors import InputError
from workloads.matrix import Axis
from workloads.source import WorkloadSource
from workloads.spec import WorkloadSpec

OnCell = Callable[[CellResult], None]


class SweepDirectory:
    """A sweep on disk; its manifest is written after every cell, so that it can go on after a
    kill."""

    def __init__(self, path: Path, manifest: SweepManifest) -> None:
        self.path = path
        self.manifest = manifest

    def run(self, cells: Sequence[SweepCell], executor: Executor, on_cell: OnCell) -> None:
        """Runs the cells that are not complete yet.

        Raises KeyboardInterrupt after Ctrl-C, with all that has ended written down; InputError if a
        complete one was run with other settings.
        """
        entries = {entry.name: entry for entry in self.manifest.cells}
        tasks = []
        for cell in cells:
            entries.setdefault(
                cell.name,
                CellEntry(
                    name=cell.name,
                    values=without_secrets(cell.values),
                    plan_digest=cell.plan_digest,
                ),
            )
            if not self.is_complete(cell):
                set_aside(self.directory_of(cell.name))
                tasks.append(CellTask(cell=cell, directory=self.directory_of(cell.name)))
        self._write(entries)
        running = {task.cell.name for task in tasks}
        try:
            for result in executor.run(tasks):
                running.remove(result.name)
                update = {
                    "status": result.status,
                    "note": result.note,
                    "duration_s": result.duration_s,
                }
                entries[result.name] = entries[result.name].model_copy(update=update)
                self._write(entries)
                on_cell(result)
                if result.status == "interrupted":
                    raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            for name in running:
                if self.directory_of(name).exists():
                    update = {"status": "interrupted", "note": interrupt_note(interrupt)}
                    entries[name] = entries[name].model_copy(update=update)
            self._write(entries)
            raise

    def is_complete(self, cell: SweepCell) -> bool:
        """Whether the cell's own directory says so, which is right also after a kill.

        Raises InputError if it was another run than this cell would be.
        """
        directory = self.directory_of(cell.name)
        if not (directory / "metrics.json").exists():
            return False
        try:
            manifest = Manifest.read(directory)
        except (OSError, ValidationError):
            return False
        num_trials = manifest.repeats * len(manifest.engines)
        if len(manifest.trials) < num_trials or any(
            trial.status != "complete" for trial in manifest.trials
        ):
            return False
        self._refuse_other(cell, manifest)
        return True

    def write_summary(self) -> None:
        write_summary(self.path, self.manifest)

    def gate_outcomes(self) -> dict[str, list[str]]:
        """Returns the outcomes of every cell's gates, by the cell's name."""
        found = {}
        for entry in self.manifest.cells:
            path = self.directory_of(entry.name) / "metrics.json"
            found[entry.name] = [each["outcome"] for each in json.loads(path.read_text())["gates"]]
        return found

    def directory_of(self, cell_name: str) -> Path:
        return cell_directory(self.path, cell_name)

    def _write(self, entries: dict[str, CellEntry]) -> None:
        self.manifest.cells = list(entries.values())
        self.manifest.write(self.path)

    def _refuse_other(self, cell: SweepCell, manifest: Manifest) -> None:
        if manifest.plan_digest != cell.plan_digest:
            what = f"plan {manifest.plan_digest[:12]}, now it would be {cell.plan_digest[:12]}"
        else:
            ran = {"workload": manifest.workload, "engines": manifest.engines}
            now = {"workload": cell.workload, "engines": cell.engines}
            difference = _first_difference(ran, now)
            if difference is None:
                return
            key, was, is_now = difference
            what = f"{key.partition('.')[2]} {was!r:.60}, now it would be {is_now!r:.60}"
        raise InputError(
            f"{self.path}: cell {cell.name} was run with {what}; undo the change, or start a new "
            "sweep without --resume"
        )


def create(
    path: Path,
    *,
    kind: SweepKind,
    source: WorkloadSource,
    spec: WorkloadSpec,
    axes: Sequence[Axis],
) -> SweepDirectory:
    """Begins a sweep in the empty folder `path`."""
    manifest = SweepManifest(
        kind=kind,
        name=spec.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        workload=without_secrets(source.raw),
        baseline=spec.baseline,
        axes=_axis_entries(axes),
        versions=environment.versions(),
        machine=environment.machine(),
    )
    manifest.write(path)
    return SweepDirectory(path, manifest)


def resume(
    path: Path, *, kind: SweepKind, axes: Sequence[Axis], cells: Sequence[SweepCell]
) -> SweepDirectory:
    """Opens a sweep that was begun before; it may have got new cells since, but not lost any.

    Raises InputError.
    """
    manifest = SweepManifest.read(path)
    if manifest.kind != kind:
        raise InputError(
            f"{path}: is of a {manifest.kind}, not of a {kind}; name another with --resume"
        )
    if kind == "sweep":
        gone = {entry.name for entry in manifest.cells} - {cell.name for cell in cells}
        if gone:
            raise InputError(
                f"{path}: holds cells that the matrix has not, e.g. {min(gone)}; undo the change, "
                "or start a new sweep without --resume"
            )
    manifest.axes = _axis_entries(axes)
    directory = SweepDirectory(path, manifest)
    for cell in cells:
        directory.is_complete(cell)  # refuses before anything is run
    return directory


def cell_directory(sweep: Path, cell_name: str) -> Path:
    return sweep / "cells" / cell_name


def _axis_entries(axes: Sequence[Axis]) -> list[AxisEntry]:
    return [
        AxisEntry(key=each.key, label=each.label, values=without_secrets(each.values, each.key))
        for each in axes
    ]


def _first_difference(ran: Any, now: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Returns (dotted key, value then, value now); None where nothing differs."""
    if not (isinstance(ran, dict) and isinstance(now, dict)):
        return None if ran == now else (key, ran, now)
    for name in [*ran, *(name for name in now if name not in ran)]:
        inner = f"{key}.{name}" if key else str(name)
        found = _first_difference(ran.get(name), now.get(name), inner)
        if found is not None:
            return found
    return None
