"""Every kind of engine by the name a workload file uses."""

from __future__ import annotations

from difflib import get_close_matches

from engines.api import EngineKind
from engines.embedded.kind import FastSwitchKind
from engines.errors import EngineInputError
from engines.openai import OpenAIKind
from engines.simulated.kind import SimulatedKind
from engines.vllm.kind import VllmKind

KINDS: dict[str, EngineKind] = {
    "fastswitch": FastSwitchKind(),
    "simulated": SimulatedKind(),
    "vllm": VllmKind(),
    "openai": OpenAIKind(),
}


def kind_named(name: str) -> EngineKind:
    if name not in KINDS:
        close = get_close_matches(name, KINDS, n=1)
        near = f"did you mean {close[0]}? Choose" if close else "choose"
        raise EngineInputError(f"kind {name!r} is unknown; {near} one of: {', '.join(KINDS)}")
    return KINDS[name]
