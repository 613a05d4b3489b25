"""How many tokens or turns, in a workload file: a number, or a distribution of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from workloads.bounds import MAX_TOKENS
from workloads.spec_base import Spec

Size = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


def _as_mapping(value: Any) -> Any:
    """Takes [low, high] for what it means."""
    if isinstance(value, list) and len(value) == 2:
        return {"min": value[0], "max": value[1]}
    return value


class Between(Spec):
    """All whole numbers from min to max, equally likely."""

    min: Size = Field(description="The smallest.")
    max: Size = Field(description="The largest.")

    @model_validator(mode="after")
    def _is_not_empty(self) -> Between:
        if self.min > self.max:
            raise ValueError(f"max must be ≥ min, got {self.max} < {self.min}")
        return self


class Truncated(Spec):
    """What distributions without an end have in common: they are cut exactly, not clipped."""

    min: Size = Field(default=1, description="Smaller ones do not occur.")
    max: Size = Field(default=MAX_TOKENS, description="Larger ones do not occur.")

    @model_validator(mode="after")
    def _is_not_empty(self) -> Truncated:
        if self.min > self.max:
            raise ValueError(f"max must be ≥ min, got {self.max} < {self.min}")
        return self


class NormalLengths(Truncated):
    mean: float = Field(gt=0, le=MAX_TOKENS, description="Of the distribution before it is cut.")
    std: float = Field(gt=0, le=MAX_TOKENS, description="Its standard deviation.")


class LognormalLengths(Truncated):
    median: float = Field(gt=0, le=MAX_TOKENS, description="Of the distribution before it is cut.")
    sigma: float = Field(gt=0, le=10, description="Standard deviation of its natural logarithm.")


class LengthsSpec(Spec):
    """One of these. A bare number is `constant`."""

    constant: Size | None = Field(default=None, description="Always this number.")
    uniform: Annotated[Between, BeforeValidator(_as_mapping)] | None = Field(
        default=None, description="[low, high], both included, or {min, max}."
    )
    normal: NormalLengths | None = Field(default=None, description="{mean, std, min, max}.")
    lognormal: LognormalLengths | None = Field(
        default=None, description="{median, sigma, min, max}."
    )
    histogram: str | None = Field(
        default=None,
        min_length=1,
        description="A csv file, plain or gzip: a column of sizes (`tokens` or `value`) and one "
        "of weights (`p`, `count` or `weight`); relative to the workload file's folder.",
    )

    @model_validator(mode="after")
    def _is_one(self) -> LengthsSpec:
        given = [name for name in CHOICES if getattr(self, name) is not None]
        if not given:
            raise ValueError(
                "uniform is missing; write a whole number, or one of uniform, normal, lognormal, "
                "histogram"
            )
        if len(given) > 1:
            raise ValueError(f"{given[1]} can not stand beside {given[0]}; remove one of them")
        return self


CHOICES = ("constant", "uniform", "normal", "lognormal", "histogram")


def _as_choice(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"constant": value}
    return value


Lengths = Annotated[
    LengthsSpec,
    BeforeValidator(_as_choice),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_TOKENS},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                    "properties": {
                        "constant": {"type": "integer"},
                        "uniform": {"type": ["array", "object"]},
                        "normal": {"type": "object", "required": ["mean", "std"]},
                        "lognormal": {"type": "object", "required": ["median", "sigma"]},
                        "histogram": {"type": "string"},
                    },
                },
            ]
        }
    ),
]
