"""What the suite knows of an engine: a kind with settings, a process, an address to ask."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

# Arrow streams an engine may leave in its directory: its steps, the requests that ended, the
# transfers of KV; or what another engine's server told of itself each second. Instants in them
# (`at`, `*_at`) are CLOCK_MONOTONIC seconds.
ENGINE_LOGS = ("steps", "requests", "transfers", "server_metrics")


class EngineSettings(BaseModel):
    """One entry under `engines:`; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str

    @property
    def is_virtual(self) -> bool:
        """Whether it runs on a clock of its own, so that other work beside it does not show."""
        return False

    def remarks(self) -> list[str]:
        """What of this engine is not a machine's own doing: one line each, said in every report."""
        return []


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
    proxy: str | None = None  # an HTTP proxy's URL; those of the environment are not heeded
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


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualRequest:
    """A turn as a virtual engine is asked it; it answers with exactly `num_output_tokens`."""

    request_id: str
    conversation_id: str
    prompt_token_ids: list[int]  # the history included; the engine's from then on
    num_output_tokens: int
    arrived_at: float  # virtual seconds, not after now
    priority: int


class VirtualToken(Protocol):
    """One request's next token, there at the step's end."""

    @property
    def request_id(self) -> str: ...

    @property
    def token_ids(self) -> list[int]: ...

    @property
    def finish_reason(self) -> str | None:
        """Set on the last one."""
        ...

    @property
    def num_prompt_tokens(self) -> int: ...

    @property
    def num_cached_tokens(self) -> int: ...


@runtime_checkable
class VirtualEngine(Protocol):
    """An engine that is not asked over a socket but stepped, on a clock of its own that starts at
    0 and jumps. Only a running one has work."""

    @property
    def max_virtual_time_s(self) -> float | None:
        """Where the user wants it to end at the latest, virtual …"""
        ...

    @property
    def max_wall_time_s(self) -> float | None:
        """… and real seconds after its start."""
        ...

    def now(self) -> float: ...

    @property
    def has_work(self) -> bool: ...

    def submit(self, request: VirtualRequest) -> None: ...

    def abort(self, request_id: str) -> None: ...

    def step(self) -> Sequence[VirtualToken]:
        """One iteration; the clock is at its end afterwards."""
        ...

    def idle_until(self, instant: float) -> None:
        """While there is no work: let the time pass."""
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
    ) -> AbstractContextManager[RunningEngine | VirtualEngine]:
        """Start it, wait until it answers, and on leaving stop it and all it started.

        `directory` gets `engine.log` and, where the engine gives them, its own logs (ENGINE_LOGS).
        Raises EngineInputError or EngineError.
        """
        ...
