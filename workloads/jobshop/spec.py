"""What a job-shop workload file says of instances and interruptions. Strict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Bounds = Annotated[tuple[int, int], Field(strict=False)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RandomInstancesSpec(Part):
    """Instances with a random order of machines, by the workload's seed."""

    jobs: Bounds = Field(description="Fewest and most jobs; drawn uniformly for each instance.")
    machines: Bounds = Field(description="The same of machines.")
    duration: Bounds = Field(default=(5, 99), description="Shortest and longest operation.")
    count: int = Field(ge=1, description="How many instances.")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        for name, least in (("jobs", 1), ("machines", 1), ("duration", 0)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(
                    f"{name} must be [low, high] with {least} ≤ low ≤ high, got {[low, high]}"
                )
        return self


class InstancesSpec(Part):
    """One of: a shipped set, random instances, a file or a folder of files."""

    set: str | None = Field(default=None, description="proven-29, la-20x5 or la-15x15.")
    random: RandomInstancesSpec | None = None
    path: str | None = Field(
        default=None,
        description="A file in the standard text format, or a folder of .txt files.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("set", "random", "path") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"must have one of set, random, path, got {' and '.join(given) or 'none'}"
            )
        return self

    def relative_to(self, folder: Path) -> InstancesSpec:
        """Returns it with the path taken from the folder where the workload file lies."""
        if self.path is None:
            return self
        return self.model_copy(update={"path": str(folder / self.path)})


class LengthSpec(Part):
    min: int = Field(default=5, ge=1, description="Shortest interruption, in units of time.")
    max: int = Field(default=99, ge=1, description="Longest interruption.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min must be ≤ max, got min {self.min} and max {self.max}")
        return self


class InterruptionsSpec(Part):
    model: Literal["per_operation", "per_time"] = Field(
        default="per_operation",
        description="per_operation: each operation is interrupted once with the probability. "
        "per_time: in each unit of time each machine that is up goes down with it.",
    )
    probability: list[Share] = Field(
        default=[0.0], min_length=1, description="One or more; every policy is played at each."
    )
    length: LengthSpec = LengthSpec()
    horizon: int = Field(
        default=100_000,
        ge=1,
        description="per_time: when machines cease to fail.",
    )

    @model_validator(mode="after")
    def _ends_within_the_horizon(self) -> Self:
        if self.length.max >= self.horizon:
            raise ValueError(
                f"length.max must be < horizon, or an interruption outlasts it, "
                f"got length.max {self.length.max} and horizon {self.horizon}"
            )
        return self

    @model_validator(mode="after")
    def _each_probability_once(self) -> Self:
        if len(set(self.probability)) < len(self.probability):
            raise ValueError(f"probability must name each value once, got {self.probability}")
        return self
