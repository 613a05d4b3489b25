"""The rates that are tried: (1 + tolerance)^k, whatever the workload's own rate is."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log

ROUNDING = 0.01  # of a place: rates are written with six digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """The rates (1 + tolerance)^k, which depend on neither the workload's rate nor the bounds."""

    tolerance_ratio: float

    def rate(self, place: int) -> float:
        return float(f"{(1 + self.tolerance_ratio) ** place:.6g}")

    def at_most(self, rate: float) -> int:
        return floor(self._place(rate) + ROUNDING)

    def at_least(self, rate: float) -> int:
        return ceil(self._place(rate) - ROUNDING)

    def steps(self, factor: float) -> int:
        return max(1, round(self._place(factor)))

    def _place(self, rate: float) -> float:
        return log(rate) / log(1 + self.tolerance_ratio)
