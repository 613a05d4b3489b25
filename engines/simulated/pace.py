"""The pace of a modelled GPU: a profile, and how many times faster than life it is played."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from engines.simulated.constants import Constant, LinkConstants, Profile, StepConstants
from engines.simulated.profile import load_profile

Constants = TypeVar("Constants", StepConstants, LinkConstants)


class Pace(BaseModel):
    """What `pace:` of a workload file says, where it is more than a profile's name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    profile: str = Field(description="a shipped profile's name, or the path of a .yaml file")
    speed: float = Field(
        default=1.0,
        gt=0,
        description="all of the profile's times are divided by this, so 4 is four times as fast",
    )

    def loaded_profile(self) -> Profile:
        """Returns the profile as it is played, sped up. Raises EngineInputError."""
        return sped_up(load_profile(self.profile), self.speed)

    def remark(self) -> str:
        """Returns the sentence of every report: what is real, what is modelled."""
        profile = load_profile(self.profile)
        return (
            f"paced: tokens are real, durations are a modelled {possessive(profile.gpu)} with "
            f"{profile.model}{sped_up_words(self.speed)}. {profile.caveat}"
        )


def sped_up(profile: Profile, speed: float) -> Profile:
    """Returns a profile whose GPU and link are `speed` times as fast: durations are divided by it,
    rates multiplied; sizes and everything that is counted stay."""
    if speed == 1.0:
        return profile
    return profile.model_copy(
        update={"step": _scaled(profile.step, speed), "link": _scaled(profile.link, speed)}
    )


def sped_up_words(speed: float) -> str:
    """Returns the remark's words on the speed; none where it is the profile's own."""
    if speed == 1.0:
        return ""
    way, factor = ("divided", speed) if speed > 1 else ("multiplied", 1 / speed)
    return f", all its times {way} by {factor:g}"


def possessive(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def _scaled(constants: Constants, speed: float) -> Constants:
    """Returns the constants sped up. Units are in the names: `*_per_s` are rates, other `*_s`
    durations."""
    changed: dict[str, Constant] = {}
    for name in type(constants).model_fields:
        constant: Constant = getattr(constants, name)
        if name.endswith("_per_s"):
            changed[name] = constant.model_copy(update={"value": constant.value * speed})
        elif name.endswith("_s"):
            changed[name] = constant.model_copy(update={"value": constant.value / speed})
    return constants.model_copy(update=changed)
