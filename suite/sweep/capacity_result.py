"""capacity.json: the highest rate each engine carries, with its interval over seeds and ratio.

Rates are averaged on the log scale (geometric mean). The interval is Student's t over seeds of the
log rates, widened upwards to the rates at which the target was seen not to hold: a seed's own
capacity lies somewhere in that step. Ratios to the baseline are paired by seed, their intervals
widened by the step both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean, stdev

from pydantic import BaseModel, ConfigDict
from scipy import special

from suite.statistics.quantiles import CONFIDENCE_RATIO

SCHEMA_VERSION = 1
CAPACITY_FILE = "capacity.json"

Ends = tuple[float, float]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeedCapacity(_Frozen):
    """The capacity of one engine under one seed, between two rates that were both run."""

    seed: int
    rate: float | None  # the highest at which the target held; None: it did not at the lowest
    next_rate: float | None  # the lowest at which it did not; None: it held at the highest
    note: str | None = None  # one line on why one is None

    @property
    def is_known(self) -> bool:
        return self.rate is not None and self.next_rate is not None


class EngineCapacity(_Frozen):
    """The capacity of one engine in conversations per second; None with the reason in `note`."""

    engine: str
    rate: float | None
    interval: Ends | None
    ratio: float | None  # to the baseline
    ratio_interval: Ends | None
    note: str | None
    seeds: list[SeedCapacity]


class CapacityResult(_Frozen):
    schema_version: int = SCHEMA_VERSION
    name: str
    target_ratio: float  # of users within SLO, at least
    tolerance_ratio: float  # between neighbouring rates
    confidence_ratio: float = CONFIDENCE_RATIO
    num_conversations: int
    baseline: str | None
    engines: list[EngineCapacity]

    @property
    def is_complete(self) -> bool:
        return all(each.rate is not None for each in self.engines)

    @classmethod
    def read(cls, directory: Path) -> CapacityResult | None:
        """Returns the result of a search; None where it has not come to an end."""
        path = directory / CAPACITY_FILE
        return cls.model_validate_json(path.read_text()) if path.exists() else None

    def write(self, directory: Path) -> Path:
        path = directory / CAPACITY_FILE
        partial = directory / f"{CAPACITY_FILE}.partial"
        partial.write_text(self.model_dump_json(indent=1) + "\n")
        partial.replace(path)
        return path


def engine_capacities(
    found: dict[str, list[SeedCapacity]], baseline: str | None
) -> list[EngineCapacity]:
    """Returns each engine's capacity; `found` has the same seeds in the same order for all."""
    base = found.get(baseline) if baseline is not None else None
    return [
        _engine(name, seeds, None if name == baseline else base) for name, seeds in found.items()
    ]


def _engine(
    name: str, seeds: list[SeedCapacity], base: list[SeedCapacity] | None
) -> EngineCapacity:
    unknown = next((each for each in seeds if not each.is_known), None)
    if unknown is not None:
        return EngineCapacity(
            engine=name,
            rate=None,
            interval=None,
            ratio=None,
            ratio_interval=None,
            note=f"seed {unknown.seed}: {unknown.note}",
            seeds=seeds,
        )
    lows, highs = _logs(seeds)
    ratio, ratio_interval = None, None
    if base is not None and all(each.is_known for each in base):
        base_lows, base_highs = _logs(base)
        ratio = exp(fmean(lows) - fmean(base_lows))
        least = [mine - its for mine, its in zip(lows, base_highs, strict=True)]
        most = [mine - its for mine, its in zip(highs, base_lows, strict=True)]
        ratio_interval = t_interval(least, most)
    return EngineCapacity(
        engine=name,
        rate=exp(fmean(lows)),
        interval=t_interval(lows, highs),
        ratio=ratio,
        ratio_interval=ratio_interval,
        note=None if len(seeds) > 1 else "an interval needs 2 seeds",
        seeds=seeds,
    )


def t_interval(lows: Sequence[float], highs: Sequence[float]) -> Ends | None:
    """Returns the interval of exp(mean) for values known to lie in [low, high], given as logs.

    It goes from the t-interval's lower end of the lows to the upper end of the highs; None for
    fewer than two values.
    """
    count = len(lows)
    if count < 2:
        return None
    factor = float(special.stdtrit(count - 1, (1 + CONFIDENCE_RATIO) / 2)) / sqrt(count)
    low = fmean(lows) - factor * stdev(lows)
    return exp(low), exp(fmean(highs) + factor * stdev(highs))


def _logs(seeds: Sequence[SeedCapacity]) -> tuple[list[float], list[float]]:
    """Returns the logs of (rates where the target held, rates where it did not)."""
    lows = [log(each.rate) for each in seeds if each.rate is not None]
    highs = [log(each.next_rate) for each in seeds if each.next_rate is not None]
    return lows, highs
