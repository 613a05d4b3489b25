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

from pydantic import BaseModel, ConfigDict, Field

from engines.facts import EngineFacts, facts_of_old_run
from engines.identity import ServerIdentity
from suite.records.answerers import AnsweredBy
from suite.records.prompt_lengths import PromptLengths

SCHEMA_VERSION = 2
SOLO_FOLDER = "solo"  # inside a run: the run directory of the same plan without neighbours


class Counts(BaseModel):
    """planned = recorded + lost + not_begun; failed are those of the recorded that carry an error.

    Turns that were cut short, those that were not due yet when a run was stopped, and those that
    were not begun because the planned time had passed are neither failures nor missed SLOs. A turn
    that its conversation's failure kept from being asked is missed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    planned: int
    recorded: int
    failed: int
    lost: int
    cut: int = 0  # of the recorded: under way when the run was stopped
    not_asked: int = 0  # of the lost: an earlier turn of their conversation had failed
    not_due: int = 0  # of the lost: the run was stopped before them
    not_begun: int = 0  # a closed loop's duration had passed before them, as planned


class DriverQuality(BaseModel):
    """How far the driver itself can be trusted in this trial."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_workers: int
    time_source: str  # "kernel", "user", or "mixed"
    max_cpu_ratio: float  # the busiest worker's share of a core, 0–1
    lag_p99_s: float | None  # of sent − scheduled; None with fewer than 100 turns
    lag_max_s: float | None = None
    is_late: bool = False  # more turns were than chance gives: weighed where something is judged
    coalesced_ratio: float  # chunks of tokens that share a read with another / all chunks
    merged_ratio: float | None = None  # … that came in packets of their own: the driver was late
    own_time_p99_s: float | None = None  # of the client, from an answer's end to the next turn
    tbt_doubt: str | None = None  # why gaps between tokens can not be judged
    tpot_doubt: str | None = None  # why TPOT can not be judged
    is_valid: bool
    warnings: list[str]  # each says what to do


class Isolation(BaseModel):
    """What kept this trial's prompts from those that others had left in the server's cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["cache_salt", "words", "reset", "shared"]  # shared: nothing did
    salt: str | None = None  # this trial's own; of words, what they are drawn from
    num_tokens: int = 0  # that stand before each conversation's first prompt


class Trial(BaseModel):
    """One engine's one repeat: the whole plan, played against it once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    repeat: int  # from 1
    status: Literal["complete", "interrupted", "failed"]
    note: str | None  # one line on why it is not complete, or that it ended before its plan did
    started_at_monotonic_s: float | None
    duration_s: float
    counts: Counts
    driver: DriverQuality | None
    engine_version: str | None = None  # what ran, where that was not this project's own engine
    isolation: Isolation | None = None  # None: the engine started anew, or an older fsbench ran
    prompt_lengths: PromptLengths | None = None  # None: token ids were sent, or words of a source
    asked_model: str | None = None  # as the server was asked for it
    server: ServerIdentity | None = None  # what it tells of itself; None: it has no URL
    answered_by: list[AnsweredBy] = []  # as the answers say, the commonest first
    remarks: list[str] = []  # what a reader has to know of how it went, one line each

    def directory(self, run: Path) -> Path:
        return run / self.engine / str(self.repeat)


class Manifest(BaseModel):
    """`trials` are `parts` in the file, as they have been since the first runs."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_version: int = SCHEMA_VERSION
    name: str
    created_at: str  # ISO 8601, UTC
    plan_digest: str
    seed: int
    workload: dict[str, Any]  # resolved: defaults and --set applied
    engines: dict[str, dict[str, Any]]  # settings as run, presets resolved
    remarks: dict[str, list[str]] = {}  # by engine: what in it is modelled or emulated
    facts: dict[str, EngineFacts] = {}  # by engine; none in runs of before they were recorded
    baseline: str | None
    gates: list[str]
    repeats: int
    commit: str | None = None  # of fsbench, where it ran from a checkout; + where files differed
    versions: dict[str, str]
    machine: dict[str, Any]
    trials: list[Trial] = Field(
        default_factory=list, validation_alias="parts", serialization_alias="parts"
    )

    def facts_of(self, engine: str) -> EngineFacts:
        """Returns what a reader has to know of the engine's figures, in old runs too."""
        return self.facts.get(engine) or facts_of_old_run(self.engines[engine])

    def write(self, run: Path) -> None:
        partial = run / "manifest.json.partial"
        partial.write_text(self.model_dump_json(indent=2, by_alias=True) + "\n")
        partial.replace(run / "manifest.json")

    @classmethod
    def read(cls, run: Path) -> Manifest:
        return cls.model_validate_json((run / "manifest.json").read_text())
