"""What an exact solver can say of a shop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactAnswer:
    makespan: int | None  # of the best schedule that was found
    bound: int  # no schedule ends earlier
    seconds: float

    @property
    def is_proven(self) -> bool:
        return self.makespan == self.bound
