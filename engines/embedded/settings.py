"""`kind: fastswitch` for the suite: its settings, and its start in a process of its own.

This side never imports torch; `engines.embedded.__main__` is the other.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from engines.api import PriorityUpdates, RunningEngine
from engines.core.settings import CoreEngineSettings
from engines.errors import EngineInputError
from engines.extras import install_command
from engines.facts import EngineFacts
from engines.models.model_files import check_model
from engines.priority_file import write_priorities
from engines.serving.serving_process import ServingConfig, serving_process

DType = Literal["float32", "bfloat16", "float64"]


class LinkSettings(BaseModel):
    """An emulated link between device and host, so that a laptop shows the regime of a real GPU.

    A transfer lasts at least num_copies · seconds_per_copy + bytes / bytes_per_s.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bytes_per_s: float = Field(gt=0, description="each direction's own bandwidth")
    seconds_per_copy: float = Field(ge=0, description="cost of one copy call")


class FastSwitchSettings(CoreEngineSettings):
    """`kind: fastswitch`, the embedded engine: the core over a model that torch computes."""

    kind: Literal["fastswitch"] = "fastswitch"
    model: str | None = Field(None, description="overrides the workload's model")
    dtype: DType = "float32"
    torch_device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu or cuda")
    num_threads: int = Field(1, ge=1, le=1024, description="torch's threads; CPU only")
    weights_seed: int = 0
    link: LinkSettings | None = Field(
        None, description="emulate this link between the pools; shown as such in every report"
    )

    def resolve(self, model: str | None) -> Self:
        """Returns a copy that names every mechanism and the model, as a manifest should show."""
        chosen = self.model or model
        if chosen is None:
            raise EngineInputError("no model is named; set model: in the workload or the engine")
        return self.model_copy(update={**self.named_mechanisms(), "model": chosen})

    def check_model(self) -> None:
        if self.model is not None:
            check_model(self.model)

    def facts(self) -> EngineFacts:
        return EngineFacts(logs_real_steps=True)

    def remarks(self) -> list[str]:
        if self.link is None:
            return super().remarks()
        return [
            *super().remarks(),
            "the link between device and host is emulated: "
            f"{self.link.bytes_per_s / 1e9:g} GB/s, {self.link.seconds_per_copy * 1e6:g} µs a copy",
        ]

    def running(
        self, *, name: str, directory: Path, priorities: PriorityUpdates | None
    ) -> AbstractContextManager[RunningEngine]:
        assert self.model is not None, "settings are resolved before they run"
        config = ProcessConfig(
            settings=self,
            model_name=served_name(self.model),
            ready_file=directory / "ready.json",
            log_directory=directory,
            priorities=write_priorities(directory, priorities),
            has_lifeline=True,
        )
        return serving_process(config.argv(), config, name=name)


class ProcessConfig(ServingConfig):
    """What the engine process is told."""

    settings: FastSwitchSettings

    def argv(self) -> list[str]:
        """Returns the command that starts the process. Raises EngineInputError: no torch."""
        if find_spec("torch") is None:
            raise EngineInputError(
                "kind fastswitch needs torch, which is not installed; "
                f"{install_command('engine')}, or use kind: openai"
            )
        return self.command("engines.embedded")


def served_name(model: str) -> str:
    """Returns how clients call a model that is a preset, a folder or a .gguf file."""
    return Path(model).name.removesuffix(".gguf")
