"""The settings of `kind: fastswitch`: those of every engine around the core, and torch's."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from engines.core.settings import CoreEngineSettings
from engines.errors import EngineInputError

DType = Literal["float32", "bfloat16", "float64"]


class LinkSettings(BaseModel):
    """An emulated link between device and host, so that a laptop shows the regime of a real GPU.

    A transfer lasts at least num_copies · seconds_per_copy + bytes / bytes_per_s.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bytes_per_s: float = Field(gt=0, description="each direction's own bandwidth")
    seconds_per_copy: float = Field(ge=0, description="cost of one copy call")


class FastSwitchSettings(CoreEngineSettings):
    """`kind: fastswitch`, the embedded engine."""

    kind: Literal["fastswitch"] = "fastswitch"
    model: str | None = Field(None, description="overrides the workload's model")
    dtype: DType = "float32"
    torch_device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu or cuda")
    num_threads: int = Field(1, ge=1, le=1024, description="torch's threads; CPU only")
    weights_seed: int = 0
    link: LinkSettings | None = Field(
        None, description="emulate this link between the pools; shown as such in every report"
    )

    def resolved(self, model: str | None) -> FastSwitchSettings:
        """A copy that names every mechanism and the model: what a manifest should show."""
        chosen = self.model or model
        if chosen is None:
            raise EngineInputError("no model is named; set model: in the workload or the engine")
        return self.model_copy(update={**self.named_mechanisms(), "model": chosen})

    def remarks(self) -> list[str]:
        if self.link is None:
            return []
        return [
            "the link between device and host is emulated: "
            f"{self.link.bytes_per_s / 1e9:g} GB/s, {self.link.seconds_per_copy * 1e6:g} µs a copy"
        ]
