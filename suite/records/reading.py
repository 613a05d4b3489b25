"""The two files that say what a run was: its manifest and its plan."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from suite.errors import RunDirectoryError
from suite.records.run_directory import Manifest
from workloads.plan import Plan


def read_run(run: Path) -> tuple[Manifest, Plan]:
    """Returns the manifest and the plan of a run directory, without which nothing can be said.

    Raises RunDirectoryError, PlanFileError.
    """
    try:
        return Manifest.read(run), Plan.read(run / "plan.parquet")
    except (FileNotFoundError, NotADirectoryError) as missing:
        if (run / "sweep.json").exists():
            raise RunDirectoryError(
                f"{run}: is a sweep; name one of its runs: {run}/cells/CELL"
            ) from None
        raise RunDirectoryError(
            f"{run}: is not a run directory, {Path(missing.filename).name} is missing; "
            "name a folder that `fsbench run` has written"
        ) from missing
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors()[0]["loc"]) or "the file"
        raise RunDirectoryError(
            f"{run / 'manifest.json'}: {where} can not be read ({error.errors()[0]['msg']}); "
            "it was cut short or written by another version of fsbench"
        ) from error
