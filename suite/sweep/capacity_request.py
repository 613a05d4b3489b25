"""What a search for capacity is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityRequest:
    target_ratio: float  # of users within SLO, at least
    num_seeds: int  # the workload's and the following ones
    tolerance_ratio: float  # neighbouring rates differ by this
    low: float | None  # conversations per second; None: found
    high: float | None
    num_users: int = 240  # judged at a rate at most, in wall time

    def __post_init__(self) -> None:
        """Refuses values that can not be searched with. Raises InputError."""
        for name, value, is_fine, bound in (
            ("target", self.target_ratio, 0 < self.target_ratio <= 1, "a share in (0, 1]"),
            ("tolerance", self.tolerance_ratio, 0.001 <= self.tolerance_ratio <= 1, "0.001 to 1"),
            ("low", self.low, self.low is None or self.low > 0, "> 0"),
            ("high", self.high, self.high is None or self.high > 0, "> 0"),
        ):
            if not is_fine:
                raise InputError(f"--{name} must be {bound}, got {value:g}")
