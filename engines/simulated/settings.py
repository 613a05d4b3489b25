"""`kind: simulated` for the suite: a profile and the core's mechanisms; stepped in virtual time,
or served in wall time by a process of its own.

The model is the profile's: its constants hold for no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from engines.api import PriorityUpdates, RunningEngine, VirtualEngine
from engines.core.settings import CoreEngineSettings
from engines.errors import EngineInputError
from engines.facts import EngineFacts
from engines.priority_file import write_priorities
from engines.serving.serving_process import ServingConfig, serving_process
from engines.simulated.constants import Profile
from engines.simulated.pace import sped_up, sped_up_words
from engines.simulated.profile import load_profile
from engines.simulated.virtual_engine import SimulatedEngine


class SimulatedSettings(CoreEngineSettings):
    """`kind: simulated`, the same scheduler over a modelled GPU."""

    kind: Literal["simulated"] = "simulated"
    profile: str = Field(description="a shipped profile's name, or the path of a .yaml file")
    speed: float = Field(
        1.0,
        gt=0,
        description="all of the profile's times are divided by this, so 4 is four times as fast",
    )
    time: Literal["virtual", "wall"] = Field(
        "virtual", description="virtual: no waiting, no server; wall: a server that sleeps"
    )
    max_virtual_time_s: float | None = Field(
        None, gt=0, description="end the run after so much virtual time, and keep what there is"
    )
    max_wall_time_s: float | None = Field(
        None, gt=0, description="the same in real time; time: virtual only, both"
    )

    @model_validator(mode="after")
    def _bounds_are_of_virtual_time(self) -> Self:
        for name in ("max_virtual_time_s", "max_wall_time_s"):
            if self.time == "wall" and getattr(self, name) is not None:
                raise ValueError(f"{name} bounds time: virtual only; remove it, or time: wall")
        return self

    def facts(self) -> EngineFacts:
        return EngineFacts(is_virtual=self.time == "virtual", is_modelled=True)

    @model_validator(mode="after")
    def _is_modelled(self) -> Self:
        if self.mechanisms().copy == "kernel":
            raise ValueError(
                "copy: kernel is not modelled (no profile has measured how fast a GPU's threads "
                "move blocks, nor what the model loses meanwhile); take merged or batched"
            )
        return self

    def resolve(self, model: str | None) -> Self:
        """Returns a copy that names every mechanism. Raises EngineInputError: the profile is
        unknown, or of another model than the workload's."""
        profile = load_profile(self.profile)
        if model is not None and model != profile.model:
            raise EngineInputError(
                f"profile {self.profile} is a profile for another model: it is of {profile.model}, "
                f"the workload's model is {model}; take another profile, or mend model:"
            )
        return self.model_copy(update=self.named_mechanisms())

    def loaded_profile(self) -> Profile:
        """Returns the profile as it is played, sped up. Raises EngineInputError."""
        return sped_up(load_profile(self.profile), self.speed)

    def check_longest(self, num_tokens: int) -> None:
        super().check_longest(num_tokens)
        profile = self.loaded_profile()
        if num_tokens > profile.shape.max_positions:
            raise EngineInputError(
                f"profile {self.profile}: {profile.model} has {profile.shape.max_positions} "
                f"positions, the plan's longest turn with its history {num_tokens} tokens; "
                "set conversations.max_context_tokens"
            )

    def remarks(self) -> list[str]:
        how = {
            "virtual": "simulated, virtual time: no GPU, no server and no driver took part",
            "wall": "emulated: a real server and driver, the GPU's time slept",
        }
        words = f"{how[self.time]}{sped_up_words(self.speed)}"
        return [f"{words}. {load_profile(self.profile).caveat}", *super().remarks()]

    @contextmanager
    def running(
        self, *, name: str, directory: Path, priorities: PriorityUpdates | None
    ) -> Iterator[RunningEngine | VirtualEngine]:
        if self.is_virtual:
            with closing(self.virtual_engine(priorities, log_directory=directory)) as engine:
                yield engine
            return
        config = EmulationConfig(
            settings=self,
            model_name=self.loaded_profile().model,
            ready_file=directory / "ready.json",
            log_directory=directory,
            priorities=write_priorities(directory, priorities),
            has_lifeline=True,
        )
        argv = config.command("engines.simulated")
        with serving_process(argv, config) as server:
            yield server

    def virtual_engine(
        self, priorities: PriorityUpdates | None = None, *, log_directory: Path | None = None
    ) -> SimulatedEngine:
        """Returns the engine in this process. `log_directory` gets its logs. Raises
        EngineInputError."""
        return SimulatedEngine(
            self,
            self.loaded_profile(),
            priorities=priorities,
            log_directory=log_directory,
            max_virtual_time_s=self.max_virtual_time_s,
            max_wall_time_s=self.max_wall_time_s,
        )


class EmulationConfig(ServingConfig):
    """What the process of `time: wall` is told."""

    settings: SimulatedSettings
