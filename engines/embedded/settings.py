"""`kind: fastswitch` for the suite: its settings, and its start in a process of its own.

This side never imports torch; `engines.embedded.__main__` is the other.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from engines.api import PriorityUpdates, RunningEngine
from engines.core.settings import CoreEngineSettings
from engines.errors import EngineInputError
from engines.extras import install_command
from engines.facts import EngineFacts
from engines.models.model_files import check_model
from engines.priority_file import write_priorities
from engines.serving.serving_process import ServingConfig, serving_process
from engines.simulated.pace import Pace

DType = Literal["float32", "bfloat16", "float64"]


class FastSwitchSettings(CoreEngineSettings):
    """`kind: fastswitch`, the embedded engine: the core over a model that torch computes."""

    kind: Literal["fastswitch"] = "fastswitch"
    model: str | None = Field(None, description="overrides the workload's model")
    dtype: DType = "float32"
    torch_device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu or cuda")
    num_threads: int = Field(1, ge=1, le=1024, description="torch's threads; CPU only")
    cuda_graphs: bool = Field(
        True, description="replay decode steps as CUDA graphs; CUDA with Triton only"
    )
    weights_seed: int = 0
    pace: Pace | str | None = Field(
        None,
        description="let steps and copies last as long as on this profile's GPU: a profile's name, "
        "or {profile, speed}; tokens and copies stay real, and every report says so",
    )

    @model_validator(mode="after")
    def _can_copy(self) -> Self:
        if self.mechanisms().copy == "kernel" and self.torch_device == "cpu":
            raise ValueError(
                "copy: kernel needs torch_device: cuda (a GPU's threads move the blocks), got cpu; "
                "take merged or batched"
            )
        return self

    def resolve(self, model: str | None) -> Self:
        """Returns a copy that names every mechanism, the model and the pace, as a manifest should
        show. Raises EngineInputError: no model is named, or the profile is unknown."""
        chosen = self.model or model
        if chosen is None:
            raise EngineInputError("no model is named; set model: in the workload or the engine")
        pace = self.named_pace
        if pace is not None:
            pace.loaded_profile()
        update = {**self.named_mechanisms(), "model": chosen, "pace": pace}
        return self.model_copy(update=update)

    @property
    def named_pace(self) -> Pace | None:
        """Returns the pace, also where the file gives no more than a profile's name."""
        return Pace(profile=self.pace) if isinstance(self.pace, str) else self.pace

    def check_files(self) -> None:
        if self.model is not None:
            check_model(self.model)

    def facts(self) -> EngineFacts:
        is_paced = self.pace is not None
        return EngineFacts(is_modelled=is_paced, logs_real_steps=not is_paced)

    def remarks(self) -> list[str]:
        pace = self.named_pace
        return super().remarks() if pace is None else [*super().remarks(), pace.remark()]

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
        return serving_process(config.argv(), config)


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
