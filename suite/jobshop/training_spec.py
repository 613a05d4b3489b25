"""The training file: which shops the network learns on, and how. Strict."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from engines.jobshop.training.settings import TrainSettings
from workloads.errors import WorkloadError
from workloads.jobshop.spec import Bounds, InterruptionsSpec, Part
from workloads.source import WorkloadSource
from workloads.spec_errors import describe


class TrainingShopsSpec(Part):
    """Random shops; each iteration draws new ones."""

    jobs: Bounds = Field(description="Fewest and most jobs.")
    machines: Bounds = Field(description="Fewest and most machines; there are as many jobs.")
    duration: Bounds = Field(default=(5, 99), description="Shortest and longest operation.")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        for name in ("jobs", "machines", "duration"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(
                    f"{name} must be [low, high] with 1 ≤ low ≤ high, got {[low, high]}"
                )
        if self.machines[1] > self.jobs[1]:
            raise ValueError(
                f"machines must not be more than jobs can be, "
                f"got {self.machines[1]} and {self.jobs[1]}"
            )
        return self


class ValidationSpec(Part):
    shops: TrainingShopsSpec
    count: int = Field(default=32, ge=1, description="Shops never trained on.")


class LinearTraining(Part):
    """Weights of `kind: linear` instead of a network."""

    generations: int = Field(default=200, ge=1)
    shops: int = Field(default=60, ge=1, description="What a generation is judged on.")


class TrainingSpec(Part):
    """One training: shops, what fails in them, and how the network learns."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names its folder.")
    subject: Literal["jobshop"]
    seed: int = Field(ge=0, description="All randomness comes from it.")
    shops: TrainingShopsSpec
    interruptions: InterruptionsSpec = Field(
        default=InterruptionsSpec(), description="Each shop meets one of the probabilities."
    )
    validation: ValidationSpec
    train: TrainSettings = TrainSettings()
    linear: LinearTraining | None = Field(
        default=None, description="Train the linear rule, not the network."
    )


def training_spec_of(source: WorkloadSource) -> TrainingSpec:
    """Returns the file's content, checked. Raises WorkloadError, one line."""
    try:
        return TrainingSpec.model_validate(source.raw)
    except ValidationError as error:
        raise WorkloadError(describe(error, source.path, source.settings, TrainingSpec)) from None
