"""The part of the JSON schema that is about engines: what each kind takes, in the file's entries
and in `defaults`."""

from __future__ import annotations

from typing import Any

from engines.registry import KINDS

Schema = dict[str, Any]


def engines_schema(workload: Schema) -> Schema:
    """Returns what joins the workload's schema. What a kind requires may stand under `defaults`, so
    an entry is held to it only where the file has none."""
    kinds = {name: settings.model_json_schema(by_alias=True) for name, settings in KINDS.items()}
    parts = {name: part for each in kinds.values() for name, part in each.pop("$defs", {}).items()}
    loose = [{**each, "required": []} for each in kinds.values()]
    strict = [
        {**each, "required": sorted({*each.get("required", []), "kind"})} for each in kinds.values()
    ]
    defs = {**workload["$defs"], **parts}
    defs["DefaultsSpec"] = _defaults(defs["DefaultsSpec"], loose)
    engines = {**workload["properties"]["engines"], "additionalProperties": {"anyOf": loose}}
    is_strict = {"properties": {"engines": {"additionalProperties": {"oneOf": strict}}}}
    return {
        "$defs": defs,
        "properties": {**workload["properties"], "engines": engines},
        "if": {"not": {"required": ["defaults"]}},
        "then": is_strict,
    }


def _defaults(spec: Schema, kinds: list[Schema]) -> Schema:
    engines = {**spec["properties"]["engines"], "anyOf": kinds}
    engines.pop("additionalProperties", None)
    return {**spec, "properties": {**spec["properties"], "engines": engines}}
