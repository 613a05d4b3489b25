"""Settings common to all engines, written once: `defaults: {engines: {…}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_engine_defaults(raw: Any) -> Any:
    """Returns a workload file's content with the defaults in each engine; an engine's own value of
    a key takes the place of the default's as a whole. What is no such content stays as it is."""
    common = _common(raw)
    engines = raw.get("engines") if isinstance(raw, Mapping) else None
    if not common or not isinstance(engines, Mapping):
        return raw
    merged = {
        name: {**common, **entry} if isinstance(entry, Mapping) else entry
        for name, entry in engines.items()
    }
    return {**raw, "engines": merged}


def keys_from_defaults(raw: Mapping[str, Any], engine: str) -> dict[str, str]:
    """Returns the full keys of an engine's settings that come from the defaults, each with the key
    under which it stands in the file."""
    own = raw["engines"].get(engine)
    own = own if isinstance(own, Mapping) else {}
    return {
        f"engines.{engine}.{key}": f"defaults.engines.{key}"
        for key in _common(raw)
        if key not in own
    }


def _common(raw: Any) -> Mapping[str, Any]:
    defaults = raw.get("defaults") if isinstance(raw, Mapping) else None
    common = defaults.get("engines") if isinstance(defaults, Mapping) else None
    return common if isinstance(common, Mapping) else {}
