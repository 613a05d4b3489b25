"""The files of one run: where each thing lies, and the manifest that says what they are.

runs/<workload>-<UTC time>/
  manifest.json   plan.parquet   metrics.json   report.html
  <engine>/<repeat>/turns.parquet   engine.log
                    steps.parquet   requests.parquet   transfers.parquet   (where it logs them)
                    server_metrics.parquet   (where its server tells them)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 2
SOLO_FOLDER = "solo"  # inside a run: the run directory of the same plan without neighbours


class Counts(BaseModel):
    """planned = recorded + lost; failed are those of the recorded that carry an error.

    Turns that were cut short, and those that were not due yet when a run was stopped, are neither
    failures nor missed SLOs. A turn that its conversation's failure kept from being asked is
    missed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    planned: int
    recorded: int
    failed: int
    lost: int
    cut: int = 0  # of the recorded: under way when the run was stopped
    not_asked: int = 0  # of the lost: an earlier turn of their conversation had failed
    not_due: int = 0  # of the lost: the run was stopped before them


class DriverQuality(BaseModel):
    """How far the driver itself can be trusted in this part of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_workers: int
    time_source: str  # "kernel", "user", or "mixed"
    max_cpu_ratio: float  # the busiest worker's share of a core, 0–1
    lag_p99_s: float | None
    coalesced_ratio: float  # chunks of tokens that share a read with another / all chunks
    merged_ratio: float | None = None  # … that came in packets of their own: the driver was late
    own_time_p99_s: float | None = None  # of the client, from an answer's end to the next turn
    tbt_doubt: str | None = None  # why gaps between tokens can not be judged; all else can
    is_valid: bool
    warnings: list[str]  # each says what to do


class Part(BaseModel):
    """One engine's turn at the plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    repeat: int  # from 1
    status: Literal["complete", "interrupted", "failed"]
    note: str | None  # one line on why it is not complete
    started_at_monotonic_s: float | None
    duration_s: float
    counts: Counts
    driver: DriverQuality | None
    engine_version: str | None = None  # what ran, where that was not this project's own engine

    def directory(self, run: Path) -> Path:
        return run / self.engine / str(self.repeat)


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    name: str
    created_at: str  # ISO 8601, UTC
    plan_digest: str
    seed: int
    workload: dict[str, Any]  # resolved: defaults and --set applied
    engines: dict[str, dict[str, Any]]  # settings as run, presets resolved
    remarks: dict[str, list[str]] = {}  # by engine: what in it is modelled or emulated
    baseline: str | None
    gates: list[str]
    repeats: int
    commit: str | None = None  # of fsbench, where it ran from a checkout; + where files differed
    versions: dict[str, str]
    machine: dict[str, Any]
    parts: list[Part] = []

    def write(self, run: Path) -> None:
        partial = run / "manifest.json.partial"
        partial.write_text(self.model_dump_json(indent=2) + "\n")
        partial.replace(run / "manifest.json")

    @classmethod
    def read(cls, run: Path) -> Manifest:
        return cls.model_validate_json((run / "manifest.json").read_text())
