"""One run: every engine at the same plan, one at a time, and a directory that says what happened.

Nothing that was measured is lost: the manifest is written before and after every trial, and a trial
that is interrupted or killed, or whose engine dies, is kept with what it has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engines.errors import EngineInputError
from suite.driver.open_files import check_open_files
from suite.playing import environment
from suite.playing.trial import Observer, play_trial, unfinished_trial
from suite.playing.workload import Workload
from suite.records.play_result import IsEnough, never_enough
from suite.records.run_directory import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    directory: Path
    manifest: Manifest
    is_input_error: bool  # an engine's settings can not work: the user's to mend


def run(workload: Workload, *, root: Path, num_workers: int, observer: Observer) -> RunOutcome:
    """Plays the plan against every engine, `repeats` times, interleaved: A B A B."""
    _check_driver(workload, num_workers)
    directory = new_directory(root, workload.spec.name)
    return run_in(directory, workload, num_workers=num_workers, observer=observer)


def run_in(
    directory: Path,
    workload: Workload,
    *,
    num_workers: int,
    observer: Observer,
    is_enough: IsEnough = never_enough,
) -> RunOutcome:
    """Plays the workload into a directory that is there and empty; each trial in wall time until
    `is_enough`."""
    _check_driver(workload, num_workers)
    manifest = _open_manifest(workload, directory)
    is_input_error = False
    for repeat in range(1, workload.spec.repeats + 1):
        for name in workload.engines:
            manifest.trials.append(unfinished_trial(workload, name, repeat))
            manifest.write(directory)
            trial, error = play_trial(
                workload,
                name,
                repeat,
                run_directory=directory,
                num_workers=num_workers,
                observer=observer,
                is_enough=is_enough,
            )
            manifest.trials[-1] = trial
            manifest.write(directory)
            observer.on_trial_end(trial)
            is_input_error = is_input_error or isinstance(error, EngineInputError)
            if trial.status == "interrupted":
                return RunOutcome(
                    directory=directory, manifest=manifest, is_input_error=is_input_error
                )
    return RunOutcome(directory=directory, manifest=manifest, is_input_error=is_input_error)


def _check_driver(workload: Workload, num_workers: int) -> None:
    """Checks that it can hold the planned turns, and that the environment has what engines take
    from it. Raises OpenFilesError, EngineInputError."""
    for name, settings in workload.engines.items():
        settings.check_environment(name, os.environ)
    if not workload.is_virtual:
        timeout_s = workload.spec.driver.turn_timeout
        check_open_files(workload.plan, num_workers=num_workers, turn_timeout_s=timeout_s)


def new_directory(root: Path, name: str) -> Path:
    """Makes ROOT/NAME-<UTC time> and returns it; nobody else has it."""
    stem = root / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    directory, n = stem, 1
    while True:
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            directory, n = stem.with_name(f"{stem.name}-{n + 1}"), n + 1


def _open_manifest(workload: Workload, directory: Path) -> Manifest:
    workload.plan.write(directory / "plan.parquet")
    manifest = Manifest(
        name=workload.spec.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        plan_digest=workload.plan.digest,
        seed=workload.spec.seed,
        workload=workload.as_json(),
        engines=workload.engines_as_json(),
        remarks={name: settings.remarks() for name, settings in workload.engines.items()},
        facts={name: settings.facts() for name, settings in workload.engines.items()},
        baseline=workload.spec.baseline,
        gates=workload.spec.gates,
        repeats=workload.spec.repeats,
        commit=environment.commit(),
        versions=environment.versions(),
        machine=environment.machine(),
    )
    manifest.write(directory)
    return manifest
