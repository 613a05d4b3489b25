"""Token counts and numbers of turns from the distributions that a workload file gives.

All are drawn by inverse distribution functions and truncated exactly (see `distributions.within`):
no value is clipped to an end or drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import special

from workloads.distributions import Floats, Ints, within
from workloads.errors import TraceError, WorkloadError
from workloads.spec_lengths import LengthsSpec, LognormalLengths, NormalLengths
from workloads.traces.files import Row, csv_rows

LEAST_MASS = 1e-6  # of a distribution that must lie between min and max
MAX_LEFT_OUT_RATIO = 0.01  # of a histogram's weight
SIZES, WEIGHTS = ("tokens", "value"), ("p", "count", "weight")
SOURCE = "a csv of sizes and weights (see docs/workloads.md, Lengths)"


class Drawn(Protocol):
    def draw(self, uniforms: Floats) -> Ints:
        """Returns whole numbers from 1 on, one for each uniform."""


@dataclass(frozen=True, slots=True)
class Constant:
    value: int

    def draw(self, uniforms: Floats) -> Ints:
        return np.full(len(uniforms), self.value, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Uniform:
    low: int
    high: int  # included

    def draw(self, uniforms: Floats) -> Ints:
        return self.low + np.floor(uniforms * (self.high - self.low + 1)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedNormal:
    """A normal distribution, or with `is_log` one of the logarithm, rounded to whole numbers."""

    mean: float
    std: float
    minimum: int
    maximum: int
    is_log: bool = False

    @property
    def cdf(self) -> tuple[float, float]:
        """Returns the distribution function at both ends, half a number beyond them."""
        ends = np.array([self.minimum - 0.5, self.maximum + 0.5])
        low, high = special.ndtr(((np.log(ends) if self.is_log else ends) - self.mean) / self.std)
        return float(low), float(high)

    def draw(self, uniforms: Floats) -> Ints:
        values = self.mean + self.std * special.ndtri(within(uniforms, *self.cdf))
        whole = np.rint(np.exp(values) if self.is_log else values).astype(np.int64)
        return np.clip(whole, self.minimum, self.maximum)  # the last bit at the very edge


@dataclass(frozen=True, slots=True)
class Histogram:
    sizes: Ints
    cumulated: Floats  # weights up to and with each size

    def draw(self, uniforms: Floats) -> Ints:
        places = np.searchsorted(self.cumulated, uniforms * self.cumulated[-1], side="right")
        sizes: Ints = self.sizes[np.minimum(places, len(self.sizes) - 1)]
        return sizes


def drawn_lengths(spec: LengthsSpec, key: str, base_directory: Path) -> Drawn:
    """Returns what the spec means; `key` begins messages. Raises WorkloadError, TraceError."""
    if spec.constant is not None:
        return Constant(spec.constant)
    if spec.uniform is not None:
        return Uniform(spec.uniform.min, spec.uniform.max)
    if spec.histogram is not None:
        return read_histogram(base_directory / Path(spec.histogram).expanduser())
    if spec.normal is not None:
        return _with_mass(_normal(spec.normal), f"{key}.normal")
    assert spec.lognormal is not None, spec
    return _with_mass(_lognormal(spec.lognormal), f"{key}.lognormal")


def _normal(spec: NormalLengths) -> TruncatedNormal:
    return TruncatedNormal(mean=spec.mean, std=spec.std, minimum=spec.min, maximum=spec.max)


def _lognormal(spec: LognormalLengths) -> TruncatedNormal:
    return TruncatedNormal(
        mean=float(np.log(spec.median)),
        std=spec.sigma,
        minimum=spec.min,
        maximum=spec.max,
        is_log=True,
    )


def _with_mass(found: TruncatedNormal, key: str) -> TruncatedNormal:
    low, high = found.cdf
    if high - low < LEAST_MASS:
        raise WorkloadError(
            f"{key} has next to nothing between min {found.minimum:,} and max {found.maximum:,}; "
            "widen them, or move the distribution"
        )
    return found


def read_histogram(path: Path) -> Histogram:
    """Reads sizes and their weights. Sizes below 1 can not be asked for: their weight must be next
    to nothing, and they are left out. Raises TraceError."""
    layouts = [(size, weight) for size in SIZES for weight in WEIGHTS]
    pairs: list[tuple[int, float]] = []
    left_out = 0.0
    for row in csv_rows(path, SOURCE, layouts):
        size, weight = _pair(row)
        if size < 1:
            left_out += weight
        elif weight > 0:
            pairs.append((size, weight))
    pairs.sort()
    cumulated = np.cumsum([weight for _, weight in pairs])
    total = left_out + (float(cumulated[-1]) if pairs else 0.0)
    if not pairs or left_out > MAX_LEFT_OUT_RATIO * total:
        raise TraceError(
            f"{path}: sizes must be 1 or more, got {left_out:g} of a weight of {total:g} below 1"
        )
    return Histogram(np.array([size for size, _ in pairs], dtype=np.int64), cumulated)


def _pair(row: Row) -> tuple[int, float]:
    size = next(name for name in SIZES if name in row.values)
    weight = next(name for name in WEIGHTS if name in row.values)
    return row.integer(size, 0), row.number(weight, 0.0)
