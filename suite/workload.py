"""A workload ready to run: the spec, its plan, and its engines' settings, all checked together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, create_model

from engines.api import EngineInputError, EngineSettings, PriorityUpdates
from engines.registry import KINDS, kind_named
from suite.gate_text import parse_gates
from workloads.build import build_plan
from workloads.errors import TraceError, WorkloadError
from workloads.plan import Plan
from workloads.plan_summary import summarise
from workloads.spec import WorkloadSpec, load_spec
from workloads.spec_errors import describe
from workloads.yaml_file import apply_overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    spec: WorkloadSpec
    plan: Plan
    engines: dict[str, EngineSettings]  # by name, in the file's order; presets resolved


def load_workload(
    path: Path, overrides: Sequence[str] = (), *, plan_file: Path | None = None
) -> Workload:
    """Raises WorkloadError or GateError, one line, before anything is started."""
    spec = load_spec(path, overrides)
    engines = {
        name: _engine(name, entry, spec.model, path, overrides)
        for name, entry in spec.engines.items()
    }
    plan = Plan.read(plan_file) if plan_file else _plan(spec, path)
    parse_gates(
        spec.gates,
        engines=list(spec.engines),
        user_classes=[each.name for each in plan.user_classes],  # a plan file may have others
        baseline=spec.baseline,
        where=str(path),
    )
    longest = summarise(plan).context_tokens.maximum
    for name, settings in engines.items():
        try:
            kind_named(settings.kind).check_longest(settings, longest)
        except EngineInputError as error:
            raise WorkloadError(f"{path}: engines.{name}.{error}") from None
    return Workload(spec=spec, plan=plan, engines=engines)


def priority_updates(plan: Plan) -> PriorityUpdates | None:
    """The plan's trace in an engine's words: by conversation id and iteration."""
    if plan.priorities is None:
        return None
    return PriorityUpdates(
        update_frequency=plan.priorities.update_frequency,
        conversation_ids=[conversation.conversation_id for conversation in plan.conversations],
        levels=plan.priorities.levels,
    )


def workload_schema() -> dict[str, Any]:
    """JSON schema of a workload file, each kind of engine included."""
    schema = WorkloadSpec.model_json_schema(by_alias=True)
    kinds = []
    for kind in KINDS.values():
        kind_schema = TypeAdapter(kind.settings_type).json_schema(by_alias=True)
        kind_schema["required"] = sorted({*kind_schema.get("required", []), "kind"})
        kinds.append(kind_schema)
    schema["properties"]["engines"]["additionalProperties"] = {"oneOf": kinds}
    return schema


def _plan(spec: WorkloadSpec, path: Path) -> Plan:
    try:
        return build_plan(spec, path.parent)
    except TraceError:  # names the trace's file
        raise
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from None


def engine_settings(kind: str, entry: dict[str, Any], overrides: Sequence[str]) -> EngineSettings:
    """One engine's settings from the command line. Raises WorkloadError."""
    raw = apply_overrides({"kind": kind, **entry}, overrides)
    return _engine(kind, raw, None, Path("command line"), ())


def _engine(
    name: str, entry: dict[str, Any], model: str | None, path: Path, overrides: Sequence[str]
) -> EngineSettings:
    where = f"{path}: engines.{name}"
    try:
        kind = kind_named(entry["kind"])
    except EngineInputError as error:
        raise WorkloadError(f"{where}: {error}") from None
    # Within the same nesting as the file, so that the message names the full key.
    nested = create_model("Engines", engines=(dict[str, kind.settings_type], ...))  # type: ignore[name-defined]
    raw = {"engines": {name: entry}}
    try:
        settings: EngineSettings = nested.model_validate(raw).engines[name]  # type: ignore[attr-defined]
    except ValidationError as error:
        raise WorkloadError(describe(error, path, overrides, nested)) from None
    try:
        return kind.resolve(settings, model)
    except EngineInputError as error:
        raise WorkloadError(f"{where}: {error}") from None
