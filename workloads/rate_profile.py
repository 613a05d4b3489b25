"""A rate that changes with time, and the instants at which so many have come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.distributions import Floats
from workloads.spec_traffic import ArrivalsSpec, RampArrivals, StepsArrivals


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the rate changes evenly."""

    duration_s: float
    begin: float  # conversations per second
    end: float

    @property
    def num(self) -> float:
        """Returns how many come in it, on the average."""
        return self.duration_s * (self.begin + self.end) / 2

    def seconds_until(self, num: Floats) -> Floats:
        """Returns when so many have come; the root that is exact at either end."""
        slope = (self.end - self.begin) / self.duration_s
        root = self.begin + np.sqrt(np.maximum(self.begin**2 + 2 * slope * num, 0.0))
        return np.divide(2 * num, root, out=np.zeros_like(num), where=root > 0)


@dataclass(frozen=True, slots=True)
class RateProfile:
    """Stretches, one after another; after the last one its rate stays."""

    stretches: tuple[Stretch, ...]

    @property
    def duration_s(self) -> float:
        return sum(each.duration_s for each in self.stretches)

    def num_within(self, seconds: float) -> float:
        """Returns how many come within this time, on the average."""
        come = 0.0
        for each in self.stretches:
            span = min(each.duration_s, seconds)
            end = each.begin + (each.end - each.begin) * span / each.duration_s
            come += Stretch(span, each.begin, end).num
            seconds -= span
        return come + seconds * self.stretches[-1].end

    def instants(self, num: Floats) -> Floats:
        """Returns seconds after which so many (≥ 0) have come, on the average; infinite where so
        many never come."""
        found = np.full(len(num), np.inf)
        at, come = 0.0, 0.0
        for each in self.stretches:
            here = (num >= come) & (num < come + each.num)
            found[here] = at + each.seconds_until(num[here] - come)
            at, come = at + each.duration_s, come + each.num
        last = self.stretches[-1].end
        if last > 0:
            after = num >= come
            found[after] = at + (num[after] - come) / last
        return found

    def points(self) -> list[tuple[float, float]]:
        """Returns (seconds, rate) along the stretches, both ends of each: a line to draw."""
        found, at = [], 0.0
        for each in self.stretches:
            found += [(at, each.begin), (at + each.duration_s, each.end)]
            at += each.duration_s
        return found


def rate_profile(arrivals: ArrivalsSpec) -> RateProfile | None:
    """Returns the planned rate; None where it does not change with time."""
    if isinstance(arrivals, StepsArrivals):
        steps = arrivals.steps
        return RateProfile(tuple(Stretch(each.duration, each.rate, each.rate) for each in steps))
    if isinstance(arrivals, RampArrivals):
        return RateProfile((Stretch(arrivals.over, arrivals.from_rate, arrivals.to_rate),))
    return None
