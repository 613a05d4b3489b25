"""When it is asked, in a workload file: arrivals and think times."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from workloads.bounds import MAX_CONVERSATIONS, MAX_FACTOR, MAX_RATE
from workloads.spec_base import PositiveDuration, Spec
from workloads.units import Duration

Rate = Annotated[float, Field(gt=0, le=MAX_RATE)]
Rate0 = Annotated[float, Field(ge=0, le=MAX_RATE)]


class PoissonArrivals(Spec):
    """Open loop; exponential gaps between the starts of conversations."""

    process: Literal["poisson"]
    rate: Rate = Field(description="Conversations per second.")


class GammaArrivals(Spec):
    """Open loop; gamma gaps, burstier than Poisson for cv > 1."""

    process: Literal["gamma"]
    rate: Rate = Field(description="Conversations per second.")
    cv: float = Field(gt=0, le=50, description="Standard deviation of the gaps over their mean.")


class ConstantArrivals(Spec):
    """Open loop; equal gaps, the first conversation at 0."""

    process: Literal["constant"]
    rate: Rate = Field(description="Conversations per second.")


class Step(Spec):
    rate: Rate0 = Field(description="Conversations per second; 0 is a pause.")
    duration: PositiveDuration = Field(description="How long this rate holds.")


class ChangingArrivals(Spec):
    """Open loop, at a rate that changes with time as planned. After the last change it stays."""

    cv: float = Field(
        default=1.0,
        gt=0,
        le=50,
        description="Standard deviation of the gaps over their mean, at any one rate. Default: 1, "
        "as in a Poisson process.",
    )


class StepsArrivals(ChangingArrivals):
    """Open loop; one rate after another."""

    process: Literal["steps"]
    steps: list[Step] = Field(min_length=1, description="Rates, each for its duration.")

    @model_validator(mode="after")
    def _somebody_comes(self) -> StepsArrivals:
        if not any(step.rate for step in self.steps):
            raise ValueError("steps must have a rate > 0 somewhere, got 0 in all of them")
        return self


class RampArrivals(ChangingArrivals):
    """Open loop; the rate changes evenly from one to another."""

    process: Literal["ramp"]
    from_rate: Rate0 = Field(description="Conversations per second at the start.")
    to_rate: Rate0 = Field(description="Conversations per second at the end.")
    over: PositiveDuration = Field(description="How long the change takes.")

    @model_validator(mode="after")
    def _somebody_comes(self) -> RampArrivals:
        if not self.from_rate and not self.to_rate:
            raise ValueError("to_rate must be > 0 where from_rate is 0")
        return self


class TraceArrivals(Spec):
    """Open loop; the trace's own instants, the first conversation at 0."""

    process: Literal["trace"]
    scale: float = Field(
        default=1.0,
        gt=0,
        le=MAX_FACTOR,
        description="Instants are multiplied by this; 0.5 is twice as fast.",
    )


class ClosedArrivals(Spec):
    """Closed loop: so many conversations at any time; the next begins when one has ended."""

    process: Literal["closed"]
    concurrency: int = Field(ge=1, le=MAX_CONVERSATIONS, description="Conversations at any time.")


ArrivalsSpec = Annotated[
    PoissonArrivals
    | GammaArrivals
    | ConstantArrivals
    | StepsArrivals
    | RampArrivals
    | TraceArrivals
    | ClosedArrivals,
    Field(discriminator="process"),
]

_MAX_THINK_TIME = Field(
    default=None, gt=0, description="Longer times do not occur (the distribution is truncated)."
)


class NoThinkTime(Spec):
    """The next turn follows the answer at once."""

    distribution: Literal["none"]


class ConstantThinkTime(Spec):
    distribution: Literal["constant"]
    value: Duration = Field(ge=0, description="From the answer's end to the next turn.")


class LognormalThinkTime(Spec):
    distribution: Literal["lognormal"]
    median: PositiveDuration = Field(description="From the answer's end to the next turn.")
    sigma: float = Field(gt=0, le=10, description="Standard deviation of its logarithm.")
    max: Duration | None = _MAX_THINK_TIME


class ExponentialThinkTime(Spec):
    distribution: Literal["exponential"]
    mean: PositiveDuration = Field(description="From the answer's end to the next turn.")
    max: Duration | None = _MAX_THINK_TIME


class TraceThinkTime(Spec):
    """The gaps between the trace's linked turns (mooncake, burstgpt with sessions)."""

    distribution: Literal["trace"]
    scale: float = Field(
        default=1.0, gt=0, le=MAX_FACTOR, description="Gaps are multiplied by this."
    )


ThinkTimeSpec = Annotated[
    NoThinkTime | ConstantThinkTime | LognormalThinkTime | ExponentialThinkTime | TraceThinkTime,
    Field(discriminator="distribution"),
]
