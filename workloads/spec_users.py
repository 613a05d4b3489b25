"""Users in the workload file: their classes with what each was promised, and their priorities."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from workloads.spec_base import PositiveDuration, Spec
from workloads.units import Duration

Ratio = Annotated[float, Field(gt=0, le=1)]


class SloSpec(Spec):
    ttft: PositiveDuration = Field(description="Time to first token, at most.")
    tbt: PositiveDuration = Field(description="Time between tokens, at most.")
    attainment: Ratio = Field(description="Share of a user's turns that must keep all of it (0–1].")
    tbt_percentile: Ratio = Field(
        default=0.99, description="Which percentile of a turn's gaps is held against tbt (0–1]."
    )
    max_gap: PositiveDuration | None = Field(
        default=None,
        description="The longest pause between two tokens of an answer, at most: a percentile "
        "says nothing of one gap in a hundred. Default: no such promise.",
    )

    @model_validator(mode="after")
    def _cap_is_above_the_bound(self) -> SloSpec:
        if self.max_gap is not None and self.max_gap < self.tbt:
            raise ValueError(
                f"max_gap must be >= tbt ({self.tbt:g}s), got {self.max_gap:g}s; the longest gap "
                "is never shorter than the percentile that tbt bounds"
            )
        return self


class UserClassSpec(Spec):
    share: Ratio = Field(description="Share of all users; the shares add up to 1.")
    slo: SloSpec
    conversations_per_user: int = Field(
        default=1, ge=1, description="Conversations that belong to the same user."
    )
    priority: int | None = Field(
        default=None,
        ge=0,
        le=255,
        description="Level under `priorities: {pattern: static}`; smaller is more urgent.",
    )


class NoPriorities(Spec):
    pattern: Literal["none"]


class StaticPriorities(Spec):
    """Each user class keeps its own `priority`."""

    pattern: Literal["static"]


class ChangingPriorities(Spec):
    """What random and markov have in common. Smaller levels are more urgent."""

    levels: int = Field(default=8, ge=2, le=256, description="Number of priority levels.")
    update_frequency: float = Field(
        default=0.04, ge=0, le=1, description="Updates per engine iteration; 0.04 = every 25."
    )
    update_interval: Duration = Field(
        default=1.0,
        ge=0,
        description="Time between updates for engines that show no iterations. Default 1s, "
        "which is a frequency of 0.04 at 40 ms an iteration; 0 = no updates.",
    )
    num_updates: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Updates computed in advance; after the last the first comes again.",
    )


class RandomPriorities(ChangingPriorities):
    """At each update every conversation gets a level drawn uniformly."""

    pattern: Literal["random"]


class MarkovPriorities(ChangingPriorities):
    """At each update a conversation keeps its level, or moves to another drawn uniformly."""

    pattern: Literal["markov"]
    stay: float = Field(ge=0, le=1, description="Probability of keeping the level.")


PrioritiesSpec = Annotated[
    NoPriorities | StaticPriorities | RandomPriorities | MarkovPriorities,
    Field(discriminator="pattern"),
]
