"""What the suite knows of an engine: settings that can start it, and an address to ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from engines.facts import EngineFacts
from engines.separation import Separation
from engines.terms import UNKNOWN, Terms
from engines.tls import Tls

# Who of several servers is asked: one for a whole conversation, or the next for each request.
Balance = Literal["conversation", "round_robin"]
# Who tells how many tokens a word makes; `words`: nobody, it is one each. `auto`: usage, else
# /tokenize.
CountTokens = Literal["auto", "usage", "tokenize", "words"]

# Arrow streams an engine may leave in its directory: its steps, the requests that ended, the
# transfers of KV; or what another engine's server told of itself each second. Instants in them
# (`at`, `*_at`) are CLOCK_MONOTONIC seconds.
ENGINE_LOGS = ("steps", "requests", "transfers", "server_metrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of a running engine, and how it is asked."""

    base_url: str  # ends in /v1, mostly; may have a query, has no user and password
    model: str
    api: Literal["completions", "chat"]
    prompt_form: Literal["token_ids", "text"]  # chat is always text
    api_key: str | None
    extra_body: dict[str, object]  # merged into every request body; prepared (engines.templates)
    is_fsbench: bool  # takes `conversation_id` and returns token ids on request
    applies_priority_trace: bool  # the engine follows the trace itself, by iteration
    takes_priority: bool  # `priority` may stand in the request body
    proxy: str | None = None  # an HTTP proxy's URL; those of the environment are not heeded
    names_conversation: bool = False  # by `vllm_xargs`, for fsbench's scheduler plug-in
    takes_terms: bool = False  # and heeds who asks and what was promised, said in the same place
    separation: Separation | None = None  # None: the server starts anew with each trial
    opening_token_ids: tuple[int, ...] = ()  # a trial's own, before each first prompt
    other_base_urls: tuple[str, ...] = ()  # of servers that answer beside `base_url`
    balance: Balance = "conversation"  # which of them is asked
    headers: dict[str, str] = field(default_factory=dict)  # of every request; prepared, too
    renamed: dict[str, str] = field(default_factory=dict)  # fields of a body, by their usual name
    omitted: tuple[str, ...] = ()  # fields that are not sent
    tls: Tls | None = None
    secrets: tuple[str, ...] = ()  # not to be written down, whoever says them
    count_tokens: CountTokens = "words"  # by whom prompts of words are made as long as planned
    tokenizer: str | None = None  # the file, or its folder, that counts in place of all others

    @property
    def base_urls(self) -> tuple[str, ...]:
        return (self.base_url, *self.other_base_urls)

    @property
    def sends_priority(self) -> bool:
        """Whether anything in a request tells the priority."""
        return self.takes_priority or any(
            "${priority}" in str(value) for value in (self.headers, self.extra_body)
        )


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
        """Returns what runs, where that is not this project: name, version, variant. One line."""
        ...

    def is_alive(self) -> bool: ...

    def death_note(self) -> str:
        """Returns one line on why it is gone (exit code, the log's last lines); only asked once it
        is."""
        ...

    def remarks(self) -> list[str]:
        """Returns what a reader has to know of how it was watched, one line each; asked once, after
        it has been left."""
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
    terms: Terms = UNKNOWN


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
        """Returns the virtual seconds after its start at which the user wants it to end at the
        latest."""
        ...

    @property
    def max_wall_time_s(self) -> float | None:
        """Returns the real seconds after its start at which the user wants it to end at the
        latest."""
        ...

    def now(self) -> float: ...

    @property
    def has_work(self) -> bool: ...

    def submit(self, request: VirtualRequest) -> None: ...

    def abort(self, request_id: str) -> None: ...

    def step(self) -> Sequence[VirtualToken]:
        """Does one iteration and returns its tokens; the clock is at its end afterwards."""
        ...

    def idle_until(self, instant: float) -> None:
        """Lets the time pass while there is no work."""
        ...


class EngineSettings(BaseModel, ABC):
    """One entry under `engines:`, and all that can be asked of it; each kind is a subclass with its
    own fields, named in `engines.registry.KINDS`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str

    def resolve(self, model: str | None) -> Self:
        """Returns the settings as they will run: presets spelt out, the model named. `model` is the
        workload's. Raises EngineInputError where they contradict each other."""
        return self

    def check_files(self) -> None:
        """Raises EngineInputError where a file that is named (a model, certificates) can be seen to
        be missing; reads no weights."""

    def check_environment(self, name: str, environment: Mapping[str, str]) -> None:
        """Raises EngineInputError where the environment lacks what the settings take from it, or
        holds what can not be sent. `name` is the engine's."""

    def check_longest(self, num_tokens: int) -> None:
        """Raises EngineInputError where a plan whose longest turn has so many tokens, history,
        prompt and answer together, can be seen not to fit. The message begins with the setting."""

    @property
    def unheard_priorities(self) -> str | None:
        """Returns what to do so that the engine hears of priorities; None where it does."""
        return None

    @property
    def filled_places(self) -> Collection[str]:
        """Returns the names of what is filled in for each request, as in `${user_id}`."""
        return ()

    def facts(self) -> EngineFacts:
        """Returns what a reader of its figures has to know; recorded in the run's manifest."""
        return EngineFacts()

    @property
    def is_virtual(self) -> bool:
        """Whether it runs on a clock of its own, so that other work beside it does not show."""
        return self.facts().is_virtual

    def remarks(self) -> list[str]:
        """Returns what a reader has to be told of it: one line each, said in every report, `LABEL:
        what is meant by it`."""
        return []

    @abstractmethod
    def running(
        self, *, name: str, directory: Path, priorities: PriorityUpdates | None
    ) -> AbstractContextManager[RunningEngine | VirtualEngine]:
        """Starts the engine, waits until it answers, and on leaving stops it and all it started.

        Only resolved settings run. `name` is the engine's in the file; `directory` gets
        `engine.log` and, where the engine gives them, its own logs (ENGINE_LOGS). Raises
        EngineInputError or EngineError.
        """
