"""capacity.json: the highest rate each engine carries, with its interval and its ratio.

In virtual time the interval is one over seeds. Rates are averaged on the log scale (geometric
mean), and it is Student's t over seeds of the log rates, widened upwards to the rates at which the
target was seen not to hold: a seed's own capacity lies somewhere in that step. Ratios to the
baseline are paired by seed, their intervals widened by the step both ways.

In wall time (`rates` tells what was seen) there is one search, and the interval goes from the
highest rate of which it is known that the target holds to the lowest of which it is known that it
does not: between them it was not told, or lies only the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from pydantic import BaseModel, ConfigDict
from scipy import special

from suite.measuring.limits import Limits
from suite.statistics.quantiles import CONFIDENCE_RATIO

SCHEMA_VERSION = 2
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


class RateSeen(_Frozen):
    """What the run at one rate told, in wall time; `interval` of the share in the long run."""

    rate: float
    answer: Literal["holds", "fails", "unsure"]
    is_finished: bool  # False: the time was up before it was told or the users were used up
    num_users: int  # judged
    num_within_slo: int
    interval: Ends
    num_turns: int
    num_turns_failed: int
    duration_s: float
    limits: Limits


class EngineCapacity(_Frozen):
    """The capacity of one engine in conversations per second; None with the reason in `note`."""

    engine: str
    rate: float | None
    interval: Ends | None
    ratio: float | None  # to the baseline
    ratio_interval: Ends | None
    note: str | None
    seeds: list[SeedCapacity]
    rates: list[RateSeen] = []  # in wall time, from the lowest on


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

    @property
    def is_of_wall_time(self) -> bool:
        """Whether rates were judged one by one, in the long run, and not plan by plan."""
        return any(each.rates for each in self.engines)

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
    found: Mapping[str, list[SeedCapacity]],
    baseline: str | None,
    rates: Mapping[str, list[RateSeen]] | None = None,
) -> list[EngineCapacity]:
    """Returns each engine's capacity; `found` has the same seeds in the same order for all, in wall
    time one, and `rates` what was seen there."""
    base = found.get(baseline) if baseline is not None else None
    return [
        _engine(
            name, seeds, None if name == baseline else base, None if rates is None else rates[name]
        )
        for name, seeds in found.items()
    ]


def _engine(
    name: str,
    seeds: list[SeedCapacity],
    base: list[SeedCapacity] | None,
    rates: list[RateSeen] | None,
) -> EngineCapacity:
    unknown = next((each for each in seeds if not each.is_known), None)
    if unknown is not None:
        of = "" if rates is not None else f"seed {unknown.seed}: "
        return EngineCapacity(
            engine=name,
            rate=None,
            interval=None,
            ratio=None,
            ratio_interval=None,
            note=f"{of}{unknown.note}",
            seeds=seeds,
            rates=rates or [],
        )
    interval = t_interval if rates is None else step_between
    lows, highs = _logs(seeds)
    ratio, ratio_interval = None, None
    if base is not None and all(each.is_known for each in base):
        base_lows, base_highs = _logs(base)
        ratio = exp(fmean(lows) - fmean(base_lows))
        least = [mine - its for mine, its in zip(lows, base_highs, strict=True)]
        most = [mine - its for mine, its in zip(highs, base_lows, strict=True)]
        ratio_interval = interval(least, most)
    return EngineCapacity(
        engine=name,
        rate=exp(fmean(lows)),
        interval=interval(lows, highs),
        ratio=ratio,
        ratio_interval=ratio_interval,
        note=seeds[0].note if rates or len(seeds) > 1 else "an interval needs 2 seeds",
        seeds=seeds,
        rates=rates or [],
    )


def step_between(lows: Sequence[float], highs: Sequence[float]) -> Ends:
    """Returns the step itself that one search has closed in on, from its ends as logs."""
    (low,), (high,) = lows, highs
    return exp(low), exp(high)


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
