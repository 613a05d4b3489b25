"""`kind: simulated` for the suite: stepped in virtual time, or a server of its own in wall time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from engines.api import EngineSettings, PriorityUpdates, RunningEngine, VirtualEngine
from engines.priority_file import write_priorities
from engines.serving.serving_process import ServingConfig, serving_process
from engines.simulated.settings import SimulatedSettings
from engines.simulated.virtual_engine import SimulatedEngine


class EmulationConfig(ServingConfig):
    """What the process of `time: wall` is told."""

    settings: SimulatedSettings


class SimulatedKind:
    settings_type = SimulatedSettings

    def resolve(self, settings: EngineSettings, model: str | None) -> SimulatedSettings:
        assert isinstance(settings, SimulatedSettings)
        return settings.resolved(model)

    def check_longest(self, settings: EngineSettings, num_tokens: int) -> None:
        assert isinstance(settings, SimulatedSettings)
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
    ) -> Iterator[RunningEngine | VirtualEngine]:
        resolved = self.resolve(settings, model)
        if resolved.time == "virtual":
            engine = SimulatedEngine(resolved, priorities=priorities, log_directory=directory)
            with closing(engine):
                yield engine
            return
        config = EmulationConfig(
            settings=resolved,
            model_name=resolved.loaded_profile().model,
            ready_file=directory / "ready.json",
            log_directory=directory,
            priorities=write_priorities(directory, priorities),
            has_lifeline=True,
        )
        argv = config.command("engines.simulated")
        with serving_process(argv, config, name=name) as server:
            yield server
