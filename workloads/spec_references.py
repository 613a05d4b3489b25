"""Published figures that a workload file cites, to stand beside its own results in the report."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from workloads.spec_base import Spec

Text = Annotated[str, Field(min_length=1)]
Factor = Annotated[float, Field(gt=0)]


class TimesBetterSpec(Spec):
    """A published band. `{high: 11.2}` is "up to 11.2 times"."""

    low: Factor | None = Field(default=None, description="At least so many times better.")
    high: Factor | None = Field(default=None, description="At most (up to) so many times better.")

    @model_validator(mode="after")
    def _is_a_band(self) -> TimesBetterSpec:
        if self.low is None and self.high is None:
            raise ValueError("low or high must be given, e.g. {low: 1.4, high: 5.8}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must be <= high, got {self.low:g} and {self.high:g}")
        return self


class ReferenceSpec(Spec):
    """A published finding: how much better one design is than another; nothing is judged by it."""

    source: Text = Field(
        description="Who published it, where, on what: shown as `published (source)`."
    )
    metrics: list[str] = Field(min_length=1, description="Names as in gates, e.g. ttft.p99.")
    times_better: TimesBetterSpec = Field(description="The band, e.g. {low: 1.4, high: 5.8}.")
    engine: Text = Field(description="The engine of this file that stands for the better design.")
    baseline: Text | None = Field(
        default=None, description="And for the other. Default: the workload's baseline."
    )
    ours: Text = Field(
        default="this run", description="What this file's own numbers are called beside it."
    )
    note: str = Field(default="", description="Conditions of theirs, and how they differ.")


def check_engines(
    references: list[ReferenceSpec], *, engines: list[str], baseline: str | None
) -> None:
    """Raises ValueError unless each names two engines of the workload."""
    for place, each in enumerate(references):
        where, against = f"references.{place}", each.baseline or baseline
        if against is None:
            raise ValueError(
                f"{where}.baseline is missing; name an engine there, or write the workload's "
                "baseline:"
            )
        for key, name in (("engine", each.engine), ("baseline", against)):
            if name not in engines:
                raise ValueError(
                    f"{where}.{key} must be one of the engines {', '.join(engines)}, got {name!r}"
                )
        if each.engine == against:
            raise ValueError(f"{where} holds engine {against!r} against itself")
