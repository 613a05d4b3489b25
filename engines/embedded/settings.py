"""The settings of `kind: fastswitch`: the core's, the model that is computed, and the pace."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engines.core.settings import CoreEngineSettings
from engines.errors import EngineInputError
from engines.simulated.pace import Pace

DType = Literal["float32", "bfloat16", "float64"]


class FastSwitchSettings(CoreEngineSettings):
    """`kind: fastswitch`, the embedded engine."""

    kind: Literal["fastswitch"] = "fastswitch"
    model: str | None = Field(None, description="overrides the workload's model")
    dtype: DType = "float32"
    torch_device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu or cuda")
    num_threads: int = Field(1, ge=1, le=1024, description="torch's threads; CPU only")
    weights_seed: int = 0
    pace: Pace | str | None = Field(
        None,
        description="let steps and copies last as long as on this profile's GPU: a profile's name, "
        "or {profile, speed}; tokens and copies stay real, and every report says so",
    )

    def resolved(self, model: str | None) -> FastSwitchSettings:
        """A copy that names every mechanism, the model and the pace: what a manifest should show.
        Raises EngineInputError: no model is named, or the profile is unknown."""
        chosen = self.model or model
        if chosen is None:
            raise EngineInputError("no model is named; set model: in the workload or the engine")
        pace = self.named_pace
        if pace is not None:
            pace.loaded_profile()
        update = {**self.named_mechanisms(), "model": chosen, "pace": pace}
        return self.model_copy(update=update)

    def remarks(self) -> list[str]:
        pace = self.named_pace
        return [] if pace is None else [pace.remark()]

    @property
    def named_pace(self) -> Pace | None:
        """The pace, also where the file gives no more than a profile's name."""
        return Pace(profile=self.pace) if isinstance(self.pace, str) else self.pace
