"""The settings of `kind: simulated`: a profile, and the embedded engine's mechanisms.

The model is the profile's: its constants hold for no other.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from engines.core.settings import CoreEngineSettings
from engines.errors import EngineInputError
from engines.simulated.constants import Profile
from engines.simulated.profile import load_profile


class SimulatedSettings(CoreEngineSettings):
    """`kind: simulated`, the same scheduler over a modelled GPU."""

    kind: Literal["simulated"] = "simulated"
    profile: str = Field(description="a shipped profile's name, or the path of a .yaml file")
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

    @property
    def is_virtual(self) -> bool:
        return self.time == "virtual"

    def resolved(self, model: str | None) -> SimulatedSettings:
        """A copy that names every mechanism. Raises EngineInputError: the profile is unknown, or
        of another model than the workload's."""
        profile = load_profile(self.profile)
        if model is not None and model != profile.model:
            raise EngineInputError(
                f"profile {self.profile} is a profile for another model: it is of {profile.model}, "
                f"the workload's model is {model}; take another profile, or mend model:"
            )
        return self.model_copy(update=self.named_mechanisms())

    def loaded_profile(self) -> Profile:
        """Raises EngineInputError."""
        return load_profile(self.profile)

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
        return [f"{how[self.time]}. {self.loaded_profile().caveat}"]
