"""An SLO as people write it to a server, in milliseconds: in a request's body, in a gateway's
headers, in the settings as what a class is promised."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engines.terms import Slo

DEFAULT_CLASS = "default"  # whose promise holds for those who name no class, or an unknown one

Milliseconds = Annotated[float, Field(gt=0)]


class Promise(BaseModel):
    """What is left out is taken from elsewhere, or not promised."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    ttft_ms: Milliseconds | None = Field(default=None, description="time to first token, at most")
    tbt_ms: Milliseconds | None = Field(default=None, description="time between tokens, at most")
    tbt_percentile: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="which percentile of the gaps tbt_ms bounds; default 0.99",
    )
    max_gap_ms: Milliseconds | None = Field(
        default=None, description="longest gap; default: no bound"
    )

    @model_validator(mode="after")
    def _cap_is_above_the_bound(self) -> Self:
        if None not in (self.max_gap_ms, self.tbt_ms) and self.max_gap_ms < self.tbt_ms:  # type: ignore[operator]
            raise ValueError(f"max_gap_ms must be >= tbt_ms {self.tbt_ms:g}, got {self.max_gap_ms}")
        return self

    def over(self, other: Promise) -> Promise:
        """Returns this promise with the other's words where it has none. Raises ValueError where
        the two together make no sense."""
        return Promise(**{**other.given(), **self.given()})

    def given(self) -> dict[str, float]:
        """Returns the fields that were given."""
        return self.model_dump(exclude_none=True)

    def slo(self) -> Slo:
        """Raises ValueError: what an SLO can not do without was left out."""
        if self.ttft_ms is None or self.tbt_ms is None:
            raise ValueError(f"{'ttft_ms' if self.ttft_ms is None else 'tbt_ms'} is missing")
        return Slo(
            ttft_s=self.ttft_ms / 1e3,
            tbt_s=self.tbt_ms / 1e3,
            tbt_percentile=0.99 if self.tbt_percentile is None else self.tbt_percentile,
            max_gap_s=None if self.max_gap_ms is None else self.max_gap_ms / 1e3,
        )


def in_milliseconds(slo: Slo) -> dict[str, float]:
    """Returns an SLO as a server is told it."""
    found = {
        "ttft_ms": slo.ttft_s * 1e3,
        "tbt_ms": slo.tbt_s * 1e3,
        "tbt_percentile": slo.tbt_percentile,
    }
    return found if slo.max_gap_s is None else {**found, "max_gap_ms": slo.max_gap_s * 1e3}
