"""What a reader of an engine's figures has to know of how they came about, as a run records it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class EngineFacts(BaseModel):
    """One engine's facts; the defaults are those of an engine that runs and is timed as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # It runs on a clock of its own, so the same plan gives the same figures, to the bit.
    is_virtual: bool = False
    # What a step lasts is a model's answer, not a machine's.
    is_modelled: bool = False
    # Its step log tells how long a real device took, so a profile can be fitted to it.
    logs_real_steps: bool = False
    # It ran before the suite came, so what it has to work with is not known.
    is_attached: bool = False


def facts_of_old_run(settings: Mapping[str, Any]) -> EngineFacts:
    """Returns the facts of an engine in a run that recorded only its settings, as such runs knew
    them. Later kinds and settings need no mention here: their runs record facts."""
    match settings.get("kind"):
        case "simulated":
            is_virtual = settings.get("time", "virtual") == "virtual"
            return EngineFacts(is_virtual=is_virtual, is_modelled=True)
        case "fastswitch":
            return EngineFacts(logs_real_steps=True)
        case "openai":
            return EngineFacts(is_attached=True)
    return EngineFacts()
