"""A stored baseline: an engine's numbers and intervals in a small JSON file, to be committed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from suite.judging.catalogue.table import Metric, metrics_of
from suite.judging.look_up import Number, look_up, repeats_of
from suite.judging.metrics_file import MeasuredRun
from suite.judging.paired_samples import PairedSamples
from suite.judging.sides import plan_key, range_of, reason_to_doubt
from suite.records.run_directory import SCHEMA_VERSION
from suite.statistics.intervals import as_json
from suite.statistics.quantiles import CONFIDENCE_RATIO, Interval
from workloads.errors import InputError


class BaselineError(InputError):
    """A baseline file that can not be used. One line."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)  # keys that others add are let be


End = FiniteFloat | None  # open


class StoredBetweenRuns(_Stored):
    values: list[FiniteFloat]
    interval: list[End] | None


class StoredNumber(_Stored):
    value: FiniteFloat
    interval: Annotated[list[End], Field(min_length=2, max_length=2)] | None
    between_runs: StoredBetweenRuns | None = None


class StoredEngine(_Stored):
    is_exact: bool
    is_driver_valid: bool | None
    pace: dict[str, Any] | None = None  # as in metrics.json
    tbt_doubt: str | None = None
    tpot_doubt: str | None = None
    lateness: dict[str, Any] | None = None
    prefix_cache: dict[str, Any] = {}  # as in metrics.json
    num_conversations: int
    repeats: int
    metrics: dict[str, StoredNumber]


class BaselineFile(_Stored):
    """A baseline file as docs/metrics.md has it, as far as it is read."""

    kind: Literal["baseline"]
    plan_digest: str
    measured: dict[str, Any]
    engines: dict[str, StoredEngine]


@dataclass(frozen=True, slots=True)
class StoredSide:
    """One engine of a baseline file: a `Side` without records, so nothing can be paired with it."""

    label: str
    stored: StoredEngine
    plan: str  # which conversations it measured, as for every Side

    @property
    def is_exact(self) -> bool:
        return self.stored.is_exact

    @property
    def is_driver_valid(self) -> bool | None:
        return self.stored.is_driver_valid

    def doubt(self, metric: Metric) -> str | None:
        return reason_to_doubt(metric.row, self.stored.model_dump(exclude={"metrics"}))

    def lateness(self, metric: Metric) -> Interval | None:
        return range_of(self.stored.lateness, metric)

    @property
    def num_conversations(self) -> int:
        return self.stored.num_conversations

    @property
    def num_repeats(self) -> int:
        return self.stored.repeats

    @property
    def run(self) -> Path | None:
        return None

    @property
    def paired_samples(self) -> PairedSamples | None:
        return None

    def number(self, metric: Metric) -> Number:
        found = self.stored.metrics.get(metric.label)
        if found is None:
            return Number(value=None, reason=f"it holds no {metric.label}")
        ends = found.interval
        return Number(
            value=found.value,
            interval=None if ends is None else Interval(low=ends[0], high=ends[1]),
        )

    def between_runs(self, metric: Metric) -> Mapping[str, Any] | None:
        found = self.stored.metrics.get(metric.label)
        if found is None or found.between_runs is None:
            return None
        return found.between_runs.model_dump()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBaseline:
    plan_digest: str
    measured: Mapping[str, Any]
    engines: dict[str, StoredSide]


def write_baseline(run: MeasuredRun, path: Path) -> None:
    """Stores every metric that has a value. Raises BaselineError where the run is not whole."""
    if path.is_dir():
        raise BaselineError(
            f"{path}: is a folder; name the file to write, such as {path}/main.json"
        )
    if path.exists() and not path.is_file():  # it would be replaced
        raise BaselineError(f"{path}: is no ordinary file; name one to write")
    for name, numbers in run.numbers.items():
        if numbers["status"] != "complete":
            raise BaselineError(
                f"{run.path}: engine {name!r} is {numbers['status']}; "
                "a baseline needs a complete run"
            )
    classes = [each.name for each in run.plan.user_classes]
    manifest = run.manifest
    document = {
        "schema_version": SCHEMA_VERSION,
        "kind": "baseline",
        "name": manifest.name,
        "created_at": manifest.created_at,
        "plan_digest": manifest.plan_digest,
        "confidence_ratio": CONFIDENCE_RATIO,
        "measured": run.measured.as_json(),
        "versions": manifest.versions,
        "engines": {name: _stored(numbers, classes) for name, numbers in run.numbers.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(_a_line_each(document))
    partial.replace(path)


def _a_line_each(document: Mapping[str, Any]) -> str:
    """JSON with one line a metric: small, and a change of a baseline can be reviewed."""
    engines = [
        f"  {json.dumps(name)}: {{\n"
        + "".join(
            f"   {json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n"
            for key, value in each.items()
            if key != "metrics"
        )
        + '   "metrics": {\n'
        + ",\n".join(
            f"    {json.dumps(label)}: {json.dumps(value, allow_nan=False)}"
            for label, value in each["metrics"].items()
        )
        + "\n   }\n  }"
        for name, each in document["engines"].items()
    ]
    head = "".join(
        f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n"
        for key, value in document.items()
        if key != "engines"
    )
    return "{\n" + head + ' "engines": {\n' + ",\n".join(engines) + "\n }\n}\n"


def _stored(numbers: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for metric in metrics_of(classes):
        number = look_up(numbers, metric)
        if number.value is not None:
            found[metric.label] = {"value": number.value, "interval": as_json(number.interval)}
            runs = repeats_of(numbers, metric)
            if runs is not None:
                found[metric.label]["between_runs"] = runs
    return {
        "is_exact": numbers["is_exact"],
        "is_driver_valid": numbers["is_driver_valid"],
        "pace": numbers["pace"],
        "tbt_doubt": numbers.get("tbt_doubt"),
        "tpot_doubt": numbers.get("tpot_doubt"),
        "lateness": numbers.get("lateness"),
        "prefix_cache": numbers["prefix_cache"],
        "num_conversations": numbers["num_conversations"],
        "repeats": len(numbers["repeats"]),
        "metrics": found,
    }


def read_baseline(path: Path) -> StoredBaseline:
    """Reads a baseline file. Raises BaselineError."""
    command = f"fsbench baseline update RUN --out {quote(str(path))}"
    anew = f"write it anew with: {command}"
    try:
        document = json.loads(path.read_text())
        version = document["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BaselineError(f"{path}: is no baseline file; write one with: {command}") from error
    if version != SCHEMA_VERSION:
        raise BaselineError(
            f"{path}: is of schema {version}, this fsbench reads {SCHEMA_VERSION}; {anew}"
        )
    try:
        found = BaselineFile.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BaselineError(f"{path}: {where}: {first['msg'].lower()}; {anew}") from error
    try:
        plan = plan_key(found.plan_digest, found.measured)
    except KeyError as error:
        raise BaselineError(f"{path}: measured has no {error}; {anew}") from error
    return StoredBaseline(
        plan_digest=found.plan_digest,
        measured=found.measured,
        engines={
            name: StoredSide(f"{path}:{name}", each, plan) for name, each in found.engines.items()
        },
    )
