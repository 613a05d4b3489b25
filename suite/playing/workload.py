"""A workload ready to run: the spec, its plan, and its engines' settings, all checked together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError, create_model

from engines.api import EngineSettings, PriorityUpdates
from engines.errors import EngineInputError
from engines.registry import settings_of_kind
from engines.secrets import without_secrets
from suite.judging.catalogue.table import METRICS, unknown_metric
from suite.judging.gate_schema import gate_schema
from suite.judging.gate_syntax import parse_gates
from suite.measuring.window import CutError, measured
from suite.playing.engines_schema import engines_schema
from suite.playing.preflight import check_size
from workloads.build import build_plan
from workloads.engine_defaults import keys_from_defaults
from workloads.errors import TraceError, WorkloadError
from workloads.matrix import read_matrix
from workloads.plan import Plan
from workloads.plan_summary import summarise
from workloads.source import WorkloadSource, read_source
from workloads.spec import WorkloadSpec, spec_of
from workloads.spec_errors import describe
from workloads.yaml_file import lay_over, parse_overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    spec: WorkloadSpec
    plan: Plan
    engines: dict[str, EngineSettings]  # by name, in the file's order; presets resolved

    @property
    def is_virtual(self) -> bool:
        """Whether nothing in it runs in wall time, where other work beside it would disturb it."""
        return all(settings.is_virtual for settings in self.engines.values())

    def as_json(self) -> dict[str, Any]:
        """Returns the file as resolved, for the manifest, without the matrix it may be a cell of
        and without keys and passwords."""
        written: dict[str, Any] = without_secrets(self.spec.model_dump(mode="json", by_alias=True))
        return written

    def engines_as_json(self) -> dict[str, dict[str, Any]]:
        """Returns the engines' settings as resolved, without keys and passwords."""
        return {
            name: without_secrets(settings.model_dump(mode="json", by_alias=True))
            for name, settings in self.engines.items()
        }


def load_workload(path: Path, overrides: Sequence[str] = ()) -> Workload:
    """Returns the file's workload, which has no matrix; nothing is started.

    Raises WorkloadError or GateError, one line.
    """
    source = read_source(path, overrides)
    matrix = read_matrix(source)
    if matrix is not None:
        raise WorkloadError(
            f"{path}: matrix is of {len(matrix.cells)} workloads, not of one; "
            "set matrix={} for the one without it"
        )
    return resolve_workload(source.without_matrix())


def resolve_workload(source: WorkloadSource, *, plan: Plan | None = None) -> Workload:
    """Returns the workload with all of it checked; `plan` instead of a new one.

    Raises WorkloadError or GateError.
    """
    path, spec = source.path, spec_of(source)
    engines = engines_of(source)
    plan = plan or _plan(spec, path)
    parse_gates(
        spec.gates,
        engines=list(spec.engines),
        user_classes=[each.name for each in plan.user_classes],  # a plan file may have others
        baseline=spec.baseline,
        where=str(path),
    )
    _check_references(spec, path)
    _check_cut(spec, plan, path)
    longest = summarise(plan).context_tokens.maximum
    for name, settings in engines.items():
        try:
            settings.check_longest(longest)
        except EngineInputError as error:
            raise WorkloadError(f"{path}: engines.{name}.{error}") from None
        if plan.priorities is None and "priority" in settings.filled_places:
            raise WorkloadError(
                f"{path}: engines.{name} sends ${{priority}}, and the workload has none; leave it "
                "out, or write priorities: {pattern: …}"
            )
    return Workload(spec=spec, plan=plan, engines=engines)


def engines_of(source: WorkloadSource) -> dict[str, EngineSettings]:
    """Returns the engines' settings by name, presets resolved; makes no plan. Raises
    WorkloadError."""
    spec = spec_of(source)
    return {name: _engine(name, entry, spec.model, source) for name, entry in spec.engines.items()}


def priority_updates(plan: Plan) -> PriorityUpdates | None:
    """Returns the plan's priority trace in an engine's words: by conversation id and iteration."""
    if plan.priorities is None:
        return None
    return PriorityUpdates(
        update_frequency=plan.priorities.update_frequency,
        conversation_ids=[conversation.conversation_id for conversation in plan.conversations],
        levels=plan.priorities.levels,
    )


def workload_schema() -> dict[str, Any]:
    """Returns the JSON schema of a workload file, with each kind of engine and every metric."""
    schema = WorkloadSpec.model_json_schema(by_alias=True)
    schema |= engines_schema(schema)
    schema["properties"]["gates"]["items"] = gate_schema()
    schema["$defs"]["ReferenceSpec"]["properties"]["metrics"]["items"] = {"enum": list(METRICS)}
    return schema


def _plan(spec: WorkloadSpec, path: Path) -> Plan:
    try:
        check_size(spec, path.parent)
        return build_plan(spec, path.parent)
    except TraceError:  # names the trace's file
        raise
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from None


def _check_references(spec: WorkloadSpec, path: Path) -> None:
    """Refuses a reference to a metric that does not exist. Raises WorkloadError."""
    for place, cited in enumerate(spec.references):
        for name in cited.metrics:
            if name not in METRICS:
                raise WorkloadError(f"{path}: references.{place}.metrics: {unknown_metric(name)}")


def _check_cut(spec: WorkloadSpec, plan: Plan, path: Path) -> None:
    """Refuses a cut that leaves nothing to measure, before anything is played. Raises CutError."""
    try:
        measured(plan, spec.model_dump(mode="json", include={"measure"}))
    except CutError as error:
        raise CutError(f"{path}: {error}") from None


Settings = TypeVar("Settings", bound=EngineSettings)


def engine_settings(
    settings_type: type[Settings], entry: dict[str, Any], overrides: Sequence[str]
) -> Settings:
    """Returns one engine's settings from the command line, resolved. Raises WorkloadError,
    EngineInputError."""
    settings = parse_overrides(overrides)
    try:
        given = settings_type.model_validate(lay_over(entry, settings))
    except ValidationError as error:
        where = Path("command line")
        raise WorkloadError(describe(error, where, settings, settings_type)) from None
    return given.resolve(None)


def _engine(
    name: str, entry: dict[str, Any], model: str | None, source: WorkloadSource
) -> EngineSettings:
    where = f"{source.path}: engines.{name}"
    try:
        settings_type = settings_of_kind(entry["kind"])
    except EngineInputError as error:
        raise WorkloadError(f"{where}: {error}") from None
    # Within the same nesting as the file, so that the message names the full key.
    nested = create_model("Engines", engines=(dict[str, settings_type], ...))  # type: ignore[valid-type]
    raw = {"engines": {name: entry}}
    try:
        settings: EngineSettings = nested.model_validate(raw).engines[name]  # type: ignore[attr-defined]
    except ValidationError as error:
        written_as = keys_from_defaults(source.raw, name)
        line = describe(error, source.path, source.settings, nested, written_as=written_as)
        if ": defaults.engines." in line:
            line += f" (of engine {name!r}, kind {entry['kind']})"
        raise WorkloadError(line) from None
    try:
        return settings.resolve(model)
    except EngineInputError as error:
        raise WorkloadError(f"{where}: {error}") from None
