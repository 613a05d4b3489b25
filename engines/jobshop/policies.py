"""Every kind of dispatching policy by the name that a workload file uses, and its settings."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from engines.errors import EngineInputError
from engines.extras import install_command
from engines.jobshop.base_rule import BaseRule, linear_rule, rule_of
from engines.jobshop.best_of import BestOfPolicy
from engines.jobshop.policy import Policy
from engines.jobshop.rule_policies import Aim, RolloutPolicy, RulePolicy
from engines.jobshop.weights import load_linear

RuleName = Literal[
    "fifo", "lifo", "spt", "lpt", "stpt", "ltpt", "mor", "lor", "mwkr", "lwkr", "lqno", "sqno",
    "random",
]  # fmt: skip
BaseName = RuleName | Literal["linear"]


class PolicySettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def build(self) -> Policy:
        """Returns the policy, ready to play. Raises EngineInputError, one line."""
        raise NotImplementedError


class RuleSettings(PolicySettings):
    """`kind: rule`: a dispatching rule; ties fall by the seed."""

    kind: Literal["rule"]
    rule: RuleName
    blocked_first: bool = Field(
        default=False, description="Jobs that block a machine go before those that have not begun."
    )

    def build(self) -> Policy:
        return RulePolicy(rule=rule_of(self.rule, blocked_first=self.blocked_first))


class LinearSettings(PolicySettings):
    """`kind: linear`: a weighted sum of features, its weights found by evolution strategies."""

    kind: Literal["linear"]
    weights: str = Field(default="shipped", description="`shipped`, or the path of a .json file.")

    def build(self) -> Policy:
        return RulePolicy(rule=linear_rule(load_linear(self.weights)))


class OverBase(PolicySettings):
    """What policies that play a base rule to the end have in common."""

    base: BaseName = Field(default="random", description="A rule, or `linear` as it is shipped.")
    blocked_first: bool = Field(default=False, description="Of the base, as in kind: rule.")

    def base_rule(self) -> BaseRule:
        if self.base == "linear":
            return linear_rule(load_linear("shipped"))
        return rule_of(self.base, blocked_first=self.blocked_first)


class RolloutSettings(OverBase):
    """`kind: rollout`, the pilot method: what is loaded is what ends earliest when the base plays
    on from it."""

    kind: Literal["rollout"]
    samples: int = Field(default=10, ge=1, description="Completions of each choice.")
    aim: Aim = Field(default="mean", description="What counts: their mean end, or the best.")
    idle: bool = Field(default=False, description="Whether leaving the machine idle is a choice.")

    def build(self) -> Policy:
        return RolloutPolicy(
            base=self.base_rule(), samples=self.samples, aim=self.aim, idles=self.idle
        )


class BestOfSettings(OverBase):
    """`kind: best-of`: the best of so many schedules by the base, thought of before the first
    decision, and again after each interruption's begin and end."""

    kind: Literal["best-of"]
    samples: int = Field(default=100, ge=1, description="Schedules that are thought of each time.")

    def build(self) -> Policy:
        return BestOfPolicy(base=self.base_rule(), samples=self.samples)


class GnnSettings(PolicySettings):
    """`kind: gnn`: a graph network, trained by `fsbench train`."""

    kind: Literal["gnn"]
    weights: str = Field(default="shipped", description="`shipped`, or what training wrote.")
    samples: int = Field(
        default=1,
        ge=1,
        description="1: the choice that scores highest. More: so many schedules are drawn and the "
        "best is followed, as in kind: best-of.",
    )

    def build(self) -> Policy:
        try:
            learned = import_module("engines.jobshop.learned_policies")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise EngineInputError(
                f"kind: gnn needs torch, which is not installed; run: {install_command('engine')}"
            ) from None
        policy: Policy = learned.learned_policy(self.weights, self.samples)
        return policy


AnyPolicySettings = Annotated[
    RuleSettings | LinearSettings | RolloutSettings | BestOfSettings | GnnSettings,
    Field(discriminator="kind"),
]
ANY_POLICY: TypeAdapter[AnyPolicySettings] = TypeAdapter(AnyPolicySettings)
POLICY_KINDS: dict[str, type[PolicySettings]] = {
    "rule": RuleSettings,
    "linear": LinearSettings,
    "rollout": RolloutSettings,
    "best-of": BestOfSettings,
    "gnn": GnnSettings,
}
