"""Stages of a measurement that has to end in time: what each may take, and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.results import print_table

LEAST_S = 3.0  # a stage with less than this left is not begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    name: str
    at_most_s: float


class TimePlan:
    """Stages come in the order of their worth: when time runs out, the last ones are missing."""

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        total_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = stages
        self._total_s = total_s
        self._clock = clock
        self._began_at = clock()
        self.skipped: list[str] = []

    @property
    def passed_s(self) -> float:
        return self._clock() - self._began_at

    def limit_s(self, stage: Stage) -> float | None:
        """What the stage may take from now on; None, and a remark: it is not begun."""
        limit_s = min(stage.at_most_s, self._total_s - self.passed_s)
        if limit_s < min(LEAST_S, stage.at_most_s):
            self.skipped.append(stage.name)
            print(f"{stage.name} is left out: {self.passed_s:.0f} s have passed", flush=True)
            return None
        return limit_s

    def show(self) -> None:
        rows = []
        at_s = 0.0
        for stage in self._stages:
            rows.append([stage.name, f"{at_s:.0f}", f"{stage.at_most_s:.0f}"])
            at_s += stage.at_most_s
        rows.append(["all", "", f"{at_s:.0f} of {self._total_s:.0f}"])
        print_table(["stage", "from s", "at most s"], rows)
