"""`kind: openai`: any OpenAI-compatible server that is already running."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.api import Endpoint, PriorityUpdates, RunningEngine
from engines.attached_settings import AttachedSettings
from engines.attachment import Attachment, watched_metrics
from engines.server_metrics import CounterWatch


class OpenAISettings(AttachedSettings):
    """`kind: openai`, attach to a base URL."""

    kind: Literal["openai"] = "openai"

    def check_environment(self, name: str, environment: Mapping[str, str]) -> None:
        Attachment.of(name, self, environment)

    @contextmanager
    def running(
        self, *, name: str, directory: Path, priorities: PriorityUpdates | None
    ) -> Iterator[RunningEngine]:
        """Attaches to the server; nothing is started."""
        attachment = Attachment.of(name, self, os.environ)
        endpoint = attachment.endpoint()
        with watched_metrics(attachment, directory) as watch:
            yield AttachedServer(endpoint, watch)


@dataclass(frozen=True, slots=True)
class AttachedServer:
    endpoint: Endpoint
    counters: CounterWatch | None = None
    version: str | None = None  # told by the server's own pages, or by its answers

    def is_alive(self) -> bool:
        return True  # not ours to watch: a dead server shows as failed turns

    def death_note(self) -> str:
        return "a server that was attached to is not watched"

    def remarks(self) -> list[str]:
        remark = None if self.counters is None else self.counters.remark()
        return [] if remark is None else [remark]


def find_endpoint(name: str, settings: OpenAISettings) -> Endpoint:
    """Returns where and how the server is asked, its model found from what it lists.

    Raises EngineError where nothing usable answers, EngineInputError where the settings lack a key
    or a model.
    """
    return Attachment.of(name, settings, os.environ).endpoint()
