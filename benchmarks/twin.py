"""A paced workload in virtual time: what its engines should come to on any machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.embedded.settings import FastSwitchSettings


def twin(workload: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the workload with each paced engine as a simulated one of the same profile."""
    engines = {}
    for name, given in workload["engines"].items():
        pace = FastSwitchSettings(**given).named_pace
        assert pace is not None, f"{name} keeps no pace: nothing predicts it"
        others = {key: value for key, value in given.items() if key != "pace"}
        engines[name] = {**others, **pace.model_dump(), "kind": "simulated"}
        model = pace.loaded_profile().model
    return {**workload, "model": model, "engines": engines}
