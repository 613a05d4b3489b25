"""What the suite knows of an engine: a kind with settings, a process, an address to ask."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

# Arrow streams an engine may leave in its directory: its steps, the requests that ended, the
# transfers of KV. Another engine's server may have told of itself each second. Instants in them
# (`at`, `*_at`) are CLOCK_MONOTONIC seconds.
ENGINE_LOGS = ("steps", "requests", "transfers")
SERVER_METRICS = "server_metrics"


class EngineError(Exception):
    """An engine could not be started, or died. The message is one line: where, what, what to do."""


class EngineInputError(EngineError):
    """The settings can not work (wrong folder, pool too small, busy port): the user's to mend."""


class EngineSettings(BaseModel):
    """One entry under `engines:`; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where and how a running engine is asked."""

    base_url: str  # ends in /v1
    model: str
    api: Literal["completions", "chat"]
    prompt_form: Literal["token_ids", "text"]  # chat is always text
    api_key: str | None
    extra_body: dict[str, object]  # merged into every request body
    is_fsbench: bool  # takes `conversation_id` and returns token ids on request
    applies_priority_trace: bool  # the engine follows the trace itself, by iteration
    takes_priority: bool  # `priority` may stand in the request body
    names_conversation: bool = False  # by `vllm_xargs`, for fsbench's scheduler plug-in


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityUpdates:
    """A plan's priority trace in an engine's words: level per conversation id and update."""

    update_frequency: float  # updates per engine iteration
    conversation_ids: Sequence[str]
    levels: npt.NDArray[np.uint8]  # shape [num_updates, num_conversations]; smaller = more urgent


class RunningEngine(Protocol):
    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def version(self) -> str | None:
        """What runs, where that is not this project: name, version, variant. One line."""
        ...

    def is_alive(self) -> bool: ...

    def death_note(self) -> str:
        """One line on why it is gone (exit code, the log's last lines); only once it is."""
        ...


class EngineKind(Protocol):
    """One way to get an engine; `engines.registry.KINDS` holds one object for each."""

    @property
    def settings_type(self) -> type[EngineSettings]: ...

    def resolve(self, settings: EngineSettings, model: str | None) -> EngineSettings:
        """The settings as they will run: presets spelt out, the model named, contradictions
        refused (EngineInputError). `model` is the workload's."""
        ...

    def check_longest(self, settings: EngineSettings, num_tokens: int) -> None:
        """Refuse (EngineInputError) a plan whose longest turn, history, prompt and answer together,
        can be seen not to fit."""
        ...

    def running(
        self,
        settings: EngineSettings,
        *,
        name: str,
        model: str | None,
        directory: Path,
        priorities: PriorityUpdates | None,
    ) -> AbstractContextManager[RunningEngine]:
        """Start it, wait until it answers, and on leaving stop it and all it started.

        `directory` gets `engine.log` and, where the engine gives them, its own logs (ENGINE_LOGS).
        Raises EngineInputError or EngineError.
        """
        ...
