"""Every kind of engine by the name a workload file uses: its settings, which can start it."""

from __future__ import annotations

from difflib import get_close_matches

from engines.api import EngineSettings
from engines.embedded.settings import FastSwitchSettings
from engines.errors import EngineInputError
from engines.openai import OpenAISettings
from engines.simulated.settings import SimulatedSettings
from engines.vllm.settings import VllmSettings

KINDS: dict[str, type[EngineSettings]] = {
    "fastswitch": FastSwitchSettings,
    "simulated": SimulatedSettings,
    "vllm": VllmSettings,
    "openai": OpenAISettings,
}


def settings_of_kind(name: str) -> type[EngineSettings]:
    """Returns the settings class of the kind. Raises EngineInputError where there is none."""
    if name not in KINDS:
        close = get_close_matches(name, KINDS, n=1)
        near = f"did you mean {close[0]}? Choose" if close else "choose"
        raise EngineInputError(f"kind {name!r} is unknown; {near} one of: {', '.join(KINDS)}")
    return KINDS[name]
