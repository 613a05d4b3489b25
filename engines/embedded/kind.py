"""`kind: fastswitch` for the suite: the embedded engine in a process of its own.

This side never imports torch; `engines.embedded.__main__` is the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from engines.api import EngineSettings, PriorityUpdates, RunningEngine
from engines.core.settings import FastSwitchSettings
from engines.errors import EngineInputError
from engines.priority_file import write_priorities
from engines.serving.serving_process import ServingConfig, serving_process


class ProcessConfig(ServingConfig):
    """What the engine process is told."""

    settings: FastSwitchSettings

    def argv(self) -> list[str]:
        """The command that starts the process. Raises EngineInputError where torch is missing."""
        if find_spec("torch") is None:
            raise EngineInputError(
                "kind fastswitch needs torch, which is not installed; "
                "pip install 'fsbench[engine]', or use kind: openai"
            )
        return self.command("engines.embedded")


class FastSwitchKind:
    settings_type = FastSwitchSettings

    def resolve(self, settings: EngineSettings, model: str | None) -> FastSwitchSettings:
        assert isinstance(settings, FastSwitchSettings)
        return settings.resolved(model)

    def check_longest(self, settings: EngineSettings, num_tokens: int) -> None:
        assert isinstance(settings, FastSwitchSettings)
        settings.check_longest(num_tokens)

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
        config = ProcessConfig(
            settings=resolved,
            model_name=served_name(resolved.model),
            ready_file=directory / "ready.json",
            log_directory=directory,
            priorities=write_priorities(directory, priorities),
            has_lifeline=True,
        )
        with serving_process(config.argv(), config, name=name) as engine:
            yield engine


def served_name(model: str) -> str:
    """How clients call a model that is a preset, a folder or a .gguf file."""
    return Path(model).name.removesuffix(".gguf")
