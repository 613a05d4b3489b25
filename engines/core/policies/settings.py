"""What a workload file may write under `policy`: a name, or a name with settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from engines.core.policies.by_priority import ByPriority
from engines.core.policies.dlpm import DeficitLongestPrefixMatch
from engines.core.policies.edf import EarliestDeadlineFirst
from engines.core.policies.fcfs import FirstComeFirstServed
from engines.core.policies.mlfq import FeedbackQueues
from engines.core.policies.qoe import QualityOfExperience
from engines.core.policies.service import ServiceMeter
from engines.core.policies.slo import SloAware
from engines.core.policies.srpt import ShortestRemainingTime
from engines.core.policies.vtc import VirtualTokenCounters
from engines.core.policy import Policy
from engines.core.step_costs import StepCosts
from engines.terms import Slo


class PolicySettings(BaseModel, ABC):
    """A policy's settings, which build it anew for each engine."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str

    @model_serializer(mode="wrap")
    def _name_alone(self, serialize: SerializerFunctionWrapHandler) -> Any:
        """Returns the plain name of a policy that has no settings."""
        fields = serialize(self)
        return self.name if set(fields) == {"name"} else fields

    @abstractmethod
    def build(self, costs: StepCosts) -> Policy: ...


class FcfsSettings(PolicySettings):
    name: Literal["fcfs"] = "fcfs"

    def build(self, costs: StepCosts) -> Policy:
        return FirstComeFirstServed()


class PrioritySettings(PolicySettings):
    name: Literal["priority"] = "priority"

    def build(self, costs: StepCosts) -> Policy:
        return ByPriority()


class Promising(PolicySettings):
    """What policies by SLO assume of a request that came without one."""

    ttft_s: float = Field(10.0, gt=0, description="of requests that come without an SLO")
    tbt_s: float = Field(1.0, gt=0, description="of requests that come without an SLO")

    @property
    def default(self) -> Slo:
        return Slo(ttft_s=self.ttft_s, tbt_s=self.tbt_s)


class Renewing(PolicySettings):
    renew_every: int = Field(8, ge=1, description="steps between two looks at all ranks")


class VtcSettings(Renewing):
    name: Literal["vtc"] = "vtc"
    input_weight: float = Field(1.0, ge=0, description="service of a prompt token")
    output_weight: float = Field(2.0, gt=0, description="service of an output token")
    quantum: float = Field(
        512.0, ge=0, description="lead in service that a holder may have before it is displaced"
    )
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="by user class: who has 2 is due twice the service of who has 1"
    )

    def build(self, costs: StepCosts) -> Policy:
        meter = ServiceMeter(
            input_weight=self.input_weight,
            output_weight=self.output_weight,
            class_weights=self.weights,
        )
        return VirtualTokenCounters(meter, quantum=self.quantum, renew_every=self.renew_every)


class EdfSettings(Promising, Renewing):
    name: Literal["edf"] = "edf"

    def build(self, costs: StepCosts) -> Policy:
        return EarliestDeadlineFirst(default=self.default, renew_every=self.renew_every)


class DlpmSettings(Renewing):
    name: Literal["dlpm"] = "dlpm"
    input_weight: float = Field(1.0, ge=0, description="service of a prompt token, if computed")
    output_weight: float = Field(2.0, gt=0, description="service of an output token")
    quantum: float = Field(2048.0, gt=0, description="service that a user's turn is worth")
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="by user class: who has 2 is due twice the service of who has 1"
    )

    def build(self, costs: StepCosts) -> Policy:
        meter = ServiceMeter(
            input_weight=self.input_weight,
            output_weight=self.output_weight,
            class_weights=self.weights,
            counts_cached=False,
        )
        return DeficitLongestPrefixMatch(meter, quantum=self.quantum, renew_every=self.renew_every)


class MlfqSettings(Renewing):
    name: Literal["mlfq"] = "mlfq"
    quantum_s: float = Field(0.01, gt=0, description="the top level's; each next one's is double")
    num_levels: int = Field(10, ge=1, le=60, description="levels")
    promote_after_s: float = Field(
        3.0, gt=0, description="who was not served for so long goes back to the top level"
    )

    def build(self, costs: StepCosts) -> Policy:
        return FeedbackQueues(
            costs,
            quantum_s=self.quantum_s,
            num_levels=self.num_levels,
            promote_after_s=self.promote_after_s,
            renew_every=self.renew_every,
        )


class QoeSettings(Promising, Renewing):
    name: Literal["qoe"] = "qoe"
    horizon_s: float = Field(10.0, gt=0, description="how far ahead a choice is thought through")
    switch_cost: float = Field(
        0.5, ge=0, description="a newcomer has to be worth more than a holder by this share"
    )

    def build(self, costs: StepCosts) -> Policy:
        return QualityOfExperience(
            costs,
            default=self.default,
            horizon_s=self.horizon_s,
            switch_cost=self.switch_cost,
            renew_every=self.renew_every,
        )


class SrptSettings(Renewing):
    """An oracle."""

    name: Literal["srpt"] = "srpt"

    def build(self, costs: StepCosts) -> Policy:
        return ShortestRemainingTime(costs, renew_every=self.renew_every)


class SloSettings(Promising):
    name: Literal["slo"] = "slo"
    renew_every: int = Field(4, ge=1, description="steps between two looks at all ranks")
    max_wait_s: float = Field(
        60.0, gt=0, description="nobody waits longer than this while others run"
    )
    quantum: int = Field(
        64, ge=1, description="output tokens of one that has waited so long, before it yields again"
    )
    margin_s: float = Field(
        0.15, ge=0, description="displace so long before the last instant at which it helps"
    )
    exchange: float = Field(
        0.05,
        gt=0,
        description="chance of loss that a holder is put at for a newcomer of as many tokens",
    )

    def build(self, costs: StepCosts) -> Policy:
        return SloAware(
            costs,
            default=self.default,
            max_wait_s=self.max_wait_s,
            quantum=self.quantum,
            margin_s=self.margin_s,
            exchange=self.exchange,
            renew_every=self.renew_every,
        )


POLICIES: dict[str, type[PolicySettings]] = {
    "fcfs": FcfsSettings,
    "priority": PrioritySettings,
    "vtc": VtcSettings,
    "dlpm": DlpmSettings,
    "edf": EdfSettings,
    "mlfq": MlfqSettings,
    "qoe": QoeSettings,
    "srpt": SrptSettings,
    "slo": SloSettings,
}


def _settings(choice: Any) -> Any:
    """Returns a name alone as the settings it stands for."""
    return {"name": choice} if isinstance(choice, str) else choice


_Any = (
    FcfsSettings
    | PrioritySettings
    | VtcSettings
    | DlpmSettings
    | EdfSettings
    | MlfqSettings
    | QoeSettings
    | SrptSettings
    | SloSettings
)
_Tagged = Annotated[_Any, Field(discriminator="name")]
# A name alone, or a mapping with it.
PolicyChoice = Annotated[
    _Tagged,
    BeforeValidator(
        _settings,
        json_schema_input_type=Literal[tuple(POLICIES)] | _Tagged,
    ),
]
