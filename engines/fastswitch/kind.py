"""`kind: fastswitch` for the suite: the embedded engine in a process of its own.

This side never imports torch; `engines.fastswitch.__main__` is the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from engines.api import Endpoint, EngineInputError, EngineSettings, PriorityUpdates, RunningEngine
from engines.context_limit import refuse_longer
from engines.fastswitch.settings import FastSwitchSettings
from engines.priority_file import write_priorities
from engines.process import ChildProcess, child_process

START_TIMEOUT_S = 300.0


class ProcessConfig(BaseModel):
    """What the engine process is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: FastSwitchSettings
    host: str = "127.0.0.1"
    port: int = 0  # 0 = a free one, told in the ready file
    model_name: str  # as clients call it
    api_key_env: str | None = None
    ready_file: Path | None = None
    log_directory: Path | None = None  # gets the engine's logs, see engine_logs.py
    priorities: Path | None = None
    has_lifeline: bool = False

    def argv(self) -> list[str]:
        """The command that starts the process. Raises EngineInputError where torch is missing."""
        if find_spec("torch") is None:
            raise EngineInputError(
                "kind fastswitch needs torch, which is not installed; "
                "pip install 'fsbench[engine]', or use kind: openai"
            )
        config = self.model_dump_json(by_alias=True)
        return [sys.executable, "-m", "engines.fastswitch", "--config", config]


@dataclass(frozen=True, slots=True)
class RunningFastSwitch:
    endpoint: Endpoint
    process: ChildProcess
    version: str | None = None  # the project's own

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def death_note(self) -> str:
        return self.process.death_note()


class FastSwitchKind:
    settings_type = FastSwitchSettings

    def resolve(self, settings: EngineSettings, model: str | None) -> FastSwitchSettings:
        assert isinstance(settings, FastSwitchSettings)
        return settings.resolved(model)

    def check_longest(self, settings: EngineSettings, num_tokens: int) -> None:
        assert isinstance(settings, FastSwitchSettings)
        refuse_longer(
            num_tokens,
            {"max_context_tokens": settings.max_context_tokens, "kv_tokens": settings.kv_tokens},
        )

    @contextmanager
    def running(
        self,
        settings: EngineSettings,
        *,
        name: str,
        model: str | None,
        directory: Path,
        priorities: PriorityUpdates | None,
    ) -> Iterator[RunningEngine]:
        resolved = self.resolve(settings, model)
        assert resolved.model is not None
        model_name = served_name(resolved.model)
        config = ProcessConfig(
            settings=resolved,
            model_name=model_name,
            ready_file=directory / "ready.json",
            log_directory=directory,
            priorities=_write_priorities(directory, priorities),
            has_lifeline=True,
        )
        with child_process(config.argv(), log=directory / "engine.log") as process:
            ready_file = directory / "ready.json"
            process.wait_until(ready_file.exists, name=name, timeout_s=START_TIMEOUT_S)
            ready = json.loads(ready_file.read_text())
            endpoint = Endpoint(
                base_url=f"http://127.0.0.1:{ready['port']}/v1",
                model=model_name,
                api="completions",
                prompt_form="token_ids",
                api_key=None,
                extra_body={},
                is_fsbench=True,
                applies_priority_trace=True,
                takes_priority=True,
            )
            yield RunningFastSwitch(endpoint, process)
            ready_file.unlink()


def served_name(model: str) -> str:
    """How clients call a model that is a preset, a folder or a .gguf file."""
    return Path(model).name.removesuffix(".gguf")


def _write_priorities(directory: Path, priorities: PriorityUpdates | None) -> Path | None:
    if priorities is None:
        return None
    path = directory / "priorities.npz"
    write_priorities(path, priorities)
    return path
