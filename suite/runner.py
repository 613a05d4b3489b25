"""One run: every engine at the same plan, one at a time, and a directory that says what happened.

Nothing that was measured is lost: the manifest is written after every part, and a part that is
interrupted or whose engine dies is kept with what it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engines.api import EngineInputError
from suite import environment
from suite.part import Observer, play_part
from suite.run_directory import Manifest
from suite.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    directory: Path
    manifest: Manifest
    is_input_error: bool  # an engine's settings can not work: the user's to mend


def run(
    workload: Workload,
    *,
    root: Path,
    num_workers: int,
    observer: Observer,
    folder: str | None = None,
) -> RunOutcome:
    """Play the plan against every engine, `repeats` times, interleaved: A B A B. `folder`: the run
    directory's name in `root`; default: the workload's and the time."""
    directory, manifest = _open_directory(workload, root, folder)
    is_input_error = False
    for repeat in range(1, workload.spec.repeats + 1):
        for name in workload.engines:
            part, error = play_part(
                workload,
                name,
                repeat,
                run_directory=directory,
                num_workers=num_workers,
                observer=observer,
            )
            manifest.parts.append(part)
            manifest.write(directory)
            observer.on_part_end(part)
            is_input_error = is_input_error or isinstance(error, EngineInputError)
            if part.status == "interrupted":
                return RunOutcome(
                    directory=directory, manifest=manifest, is_input_error=is_input_error
                )
    return RunOutcome(directory=directory, manifest=manifest, is_input_error=is_input_error)


def _open_directory(workload: Workload, root: Path, folder: str | None) -> tuple[Path, Manifest]:
    now = datetime.now(UTC)
    stem = root / (folder or f"{workload.spec.name}-{now:%Y%m%dT%H%M%SZ}")
    directory, n = stem, 1
    while True:
        try:
            directory.mkdir(parents=True)
            break
        except FileExistsError:
            directory, n = stem.with_name(f"{stem.name}-{n + 1}"), n + 1
    workload.plan.write(directory / "plan.parquet")
    manifest = Manifest(
        name=workload.spec.name,
        created_at=now.isoformat(timespec="seconds"),
        plan_digest=workload.plan.digest,
        seed=workload.spec.seed,
        workload=workload.spec.model_dump(mode="json", by_alias=True),
        engines={
            name: settings.model_dump(mode="json", by_alias=True)
            for name, settings in workload.engines.items()
        },
        remarks={name: settings.remarks() for name, settings in workload.engines.items()},
        baseline=workload.spec.baseline,
        gates=workload.spec.gates,
        repeats=workload.spec.repeats,
        versions=environment.versions(),
        machine=environment.machine(),
    )
    manifest.write(directory)
    return directory, manifest
