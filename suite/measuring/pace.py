"""How well a paced engine kept the pace of the GPU that it stands for, from its step log.

A step or a copy that really takes longer than modelled is late; the next ones are waited for less,
until that is made up. So no token is later than its step, and where steps were late by more than a
small part of an SLO, the times are this machine's and not the GPU's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.measuring.engine_run import EngineRun
from suite.records.engine_logs import read_engine_logs
from suite.statistics.arrays import Floats
from workloads.plan_parts import UserClass

NOTE = "the pace was missed (see the warnings): the time may be this machine's own"
COLUMN = "pace_missed_s"
MAX_SHARE_OF_SLO = 0.25  # of the tightest time that any user class was promised, TTFT or TBT
MISSED_QUANTILE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceQuality:
    """How far the steps of all repeats were behind the modelled GPU; the worst repeat counts."""

    num_steps: int
    missed_p99_s: float
    missed_max_s: float
    bound_s: float

    @property
    def is_kept(self) -> bool:
        return self.missed_p99_s <= self.bound_s

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_kept": self.is_kept}

    def warnings(self) -> list[str]:
        """Returns one line that says what to do, where the pace was missed."""
        if self.is_kept:
            return []
        return [
            f"the pace was missed: 1 % of the steps ended {self.missed_p99_s * 1e3:.0f} ms or more "
            f"after the modelled GPU's (bound {self.bound_s * 1e3:.0f} ms, a quarter of the "
            "tightest SLO): this machine was too busy; run again when it is quieter, or set "
            "pace.speed and the workload's times to a slower GPU"
        ]


def pace_of(engine: EngineRun) -> PaceQuality | None:
    """Returns None where the engine keeps no pace, or logged no step."""
    repeats = [_missed_s(trial.directory(engine.run)) for trial in engine.trials]
    paced = [each for each in repeats if len(each)]
    if not paced:
        return None
    return PaceQuality(
        num_steps=sum(map(len, paced)),
        missed_p99_s=max(float(np.quantile(each, MISSED_QUANTILE)) for each in paced),
        missed_max_s=max(float(each.max()) for each in paced),
        bound_s=MAX_SHARE_OF_SLO * tightest_slo_s(engine.plan.user_classes),
    )


def doubt(pace: Mapping[str, Any] | None) -> str | None:
    """Returns why no time is to be judged by, where `pace` (as in metrics.json) was missed."""
    return None if pace is None or pace["is_kept"] else NOTE


def tightest_slo_s(user_classes: Iterable[UserClass]) -> float:
    return min(min(each.slo.ttft_s, each.slo.tbt_s) for each in user_classes)


def _missed_s(directory: Path) -> Floats:
    steps = read_engine_logs(directory).steps
    if steps is None or COLUMN not in steps.column_names:  # another engine, or an old run
        return np.array([])
    missed: Floats = steps[COLUMN].drop_null().to_numpy()
    return missed
