"""sweep.json: what is swept over what, how far each cell has come, and at the end their numbers.

runs/<workload>-<UTC time>/
  sweep.json   sweep.parquet   capacity.json (of a capacity search)
  cells/<cell>/                an ordinary run directory
  set-aside/<cell>-<n>/        what an earlier attempt at a cell had left
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from workloads.errors import InputError

SCHEMA_VERSION = 1
SWEEP_FILE = "sweep.json"

SweepKind = Literal["sweep", "capacity"]
CellStatus = Literal["pending", "complete", "failed", "interrupted"]


class AxisEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    label: str
    values: list[Any]


class CellEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    values: dict[str, Any]
    plan_digest: str
    status: CellStatus = "pending"
    note: str | None = None  # one line on why it is not complete
    duration_s: float | None = None  # wall time of its run


class SweepManifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    kind: SweepKind
    name: str
    created_at: str  # ISO 8601, UTC
    workload: dict[str, Any]  # the file with --set applied, the matrix included
    baseline: str | None
    axes: list[AxisEntry]
    cells: list[CellEntry] = []
    versions: dict[str, str]
    machine: dict[str, Any]
    rows: list[dict[str, Any]] = []  # of sweep.parquet

    def write(self, directory: Path) -> None:
        partial = directory / f"{SWEEP_FILE}.partial"
        partial.write_text(self.model_dump_json(indent=1) + "\n")
        partial.replace(directory / SWEEP_FILE)

    @classmethod
    def read(cls, directory: Path) -> SweepManifest:
        """Returns the sweep's manifest. Raises InputError where there is none that can be read."""
        path = directory / SWEEP_FILE
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise InputError(
                f"{directory}: is not a sweep's directory, {SWEEP_FILE} is missing; "
                "name one that `fsbench run` or `fsbench capacity` has written"
            ) from None
        except ValidationError as error:
            where = ".".join(str(step) for step in error.errors()[0]["loc"]) or "the file"
            raise InputError(
                f"{path}: {where} can not be read ({error.errors()[0]['msg']}); it was cut short "
                "or written by another version of fsbench"
            ) from None
