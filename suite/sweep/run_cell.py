"""Runs one cell: an ordinary run with its metrics.json, and how it went instead of an error."""

from __future__ import annotations

import itertools
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from engines.secrets import shown_url
from suite.judging.metrics_file import write_metrics
from suite.playing.runner import run_in
from suite.playing.trial import Observer
from suite.playing.workload import Workload, resolve_workload
from suite.records.play_result import IsEnough, interrupt_note, never_enough
from suite.records.progress import Progress
from suite.records.run_directory import Manifest, Trial
from suite.sweep.cells import CellTask
from suite.sweep.manifest import CellStatus

ERROR_FILE = "error.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    name: str
    status: CellStatus
    note: str | None
    duration_s: float


def set_aside(directory: Path) -> None:
    """Moves what an earlier attempt at a cell has left, if any, to set-aside/<cell>-<n>."""
    if not directory.exists():
        return
    folder = directory.parent.parent / "set-aside"
    folder.mkdir(exist_ok=True)
    attempts = (folder / f"{directory.name}-{n}" for n in itertools.count(1))
    directory.rename(next(path for path in attempts if not path.exists()))


class NoObserver:
    """The observer of cells that run out of sight."""

    def on_trial_start(self, engine: str, repeat: int) -> None: ...

    def on_progress(self, progress: Progress) -> None: ...

    def on_trial_end(self, trial: Trial) -> None: ...


def run_cell(
    task: CellTask,
    *,
    num_workers: int = 1,
    observer: Observer | None = None,
    workload: Workload | None = None,
    is_enough: IsEnough = never_enough,
) -> CellResult:
    """Runs the cell and returns how it went; never raises for what goes wrong in it.

    The first line of an error goes into the result, the whole into its directory's error.txt.
    """
    began_at = time.monotonic()
    task.directory.mkdir(parents=True)
    try:
        outcome = run_in(
            task.directory,
            workload or resolve_workload(task.cell.source),
            num_workers=num_workers,
            observer=observer or NoObserver(),
            is_enough=is_enough,
        )
        status, note = _status(outcome.manifest)
        write_metrics(task.directory)
    except Exception as error:
        (task.directory / ERROR_FILE).write_text(shown_url(traceback.format_exc()))
        first_line = next(iter(str(error).splitlines()), "")
        status, note = "failed", f"{type(error).__name__}: {shown_url(first_line)}"
    except KeyboardInterrupt as interrupt:
        status, note = "interrupted", interrupt_note(interrupt)
    return CellResult(
        name=task.cell.name, status=status, note=note, duration_s=time.monotonic() - began_at
    )


def _status(manifest: Manifest) -> tuple[CellStatus, str | None]:
    """Returns the status of the worst trial, and why."""
    for status in ("interrupted", "failed"):
        for trial in manifest.trials:
            if trial.status == status:
                return trial.status, f"{trial.engine} #{trial.repeat}: {trial.note}"
    return "complete", None
