"""A quick look at an engine: eight loads from one user to saturation, found by doubling.

One user alone tells how long a conversation takes when nobody is in the way; with that the loads
begin. They are doubled until every engine is saturated, and what is left of the eight lies between
the last load that was carried and the first that was not, where the engine bends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.playing.workload import Workload
from suite.sweep.cells import CellLoader, SweepCell
from suite.sweep.how_many import so_many
from workloads.errors import InputError
from workloads.source import WorkloadSource
from workloads.spec_traffic import (
    ClosedArrivals,
    ConstantArrivals,
    GammaArrivals,
    PoissonArrivals,
)
from workloads.yaml_file import Setting

NUM_LOADS = 8
ALONE = {"arrivals": {"process": "closed", "concurrency": 1}}
NUM_ALONE = 4  # conversations, one after another
LOOK_S = 60.0  # of arrivals at each load
FEWEST, MOST = 8, 2000  # conversations at a load
SATURATED_RATIO = 0.5  # of the users within SLO, below which more load tells nothing
KEYS = {"arrivals.rate": "rate", "arrivals.concurrency": "concurrency"}

Json = Mapping[str, Any]


def load_key(source: WorkloadSource, workload: Workload) -> str:
    """Returns the setting that the look varies. Raises InputError where there is none."""
    arrivals = workload.spec.arrivals
    if isinstance(arrivals, PoissonArrivals | GammaArrivals | ConstantArrivals):
        return "arrivals.rate"
    if isinstance(arrivals, ClosedArrivals):
        return "arrivals.concurrency"
    raise InputError(
        f"{source.path}: arrivals.process must be poisson, gamma, constant or closed for --sweep, "
        f"got {arrivals.process}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LookCells:
    """Makes the cells of a look; `key` as by `load_key`."""

    source: WorkloadSource
    workload: Workload
    key: str
    loader: CellLoader

    def alone(self) -> SweepCell:
        """Returns one user at a time: what a conversation takes by itself."""
        return self._cell("alone", {}, {**ALONE, **so_many(NUM_ALONE, self.workload)})

    def at(self, load: float, conversation_s: float) -> SweepCell:
        """Returns a load for about a minute; `conversation_s`: how long one takes alone."""
        is_rate = self.key == "arrivals.rate"
        per_s = load if is_rate else load / conversation_s
        count = min(MOST, max(FEWEST, round(per_s * LOOK_S)))
        value = load if is_rate else round(load)
        name = f"{KEYS[self.key]}={value!r}"
        return self._cell(
            name, {self.key: value}, {self.key: value, **so_many(count, self.workload)}
        )

    def _cell(self, name: str, values: dict[str, Any], changes: dict[str, object]) -> SweepCell:
        settled: dict[str, object] = {"gates": [], "references": [], "repeats": 1, **changes}
        where = "--sweep"
        settings = [Setting(key=key, value=each, where=where) for key, each in settled.items()]
        return self.loader.load(name, values, self.source.having(*settings))


def conversation_s(trials: Sequence[tuple[float, int]]) -> float:
    """Returns how long a conversation takes alone, of the slowest engine; of each trial its
    duration and number of conversations."""
    return max(duration_s / num for duration_s, num in trials)


def is_saturated(engines: Mapping[str, Json]) -> bool:
    """Tells whether no engine has anything left; `engines` as in metrics.json."""
    return all(map(_is_saturated, engines.values()))


def _is_saturated(numbers: Json) -> bool:
    slo, steady = numbers["slo"], numbers.get("steady_state") or {}
    share = slo["users_within_slo_ratio"] if slo else 0.0
    return bool(steady.get("is_overloaded")) or share < SATURATED_RATIO


class Loads:
    """The loads to look at, one after another, each told whether it saturated the engines. Where
    already the first does, they are halved until one does not."""

    def __init__(self, first: float, *, is_whole: bool, most: int = NUM_LOADS) -> None:
        """`is_whole`: only whole numbers are loads, as of conversations at a time."""
        self._is_whole = is_whole
        self._most = most
        self._next = first
        self._carried: float | None = None
        self.saturated: float | None = None  # the lowest load that did so
        self.seen: list[float] = []

    def __iter__(self) -> Iterator[float]:
        while len(self.seen) < self._most and not self._is_found():
            self.seen.append(self._next)
            yield self._next
        for load in self._between():
            self.seen.append(load)
            yield load

    def tell(self, *, is_saturated: bool) -> None:
        """Takes what the last load has come to."""
        if self._is_found():
            return
        if is_saturated:
            self.saturated = self.seen[-1]
            self._next = self.seen[-1] / 2
        else:
            self._carried = self.seen[-1]
            self._next = 2 * self.seen[-1]

    def _is_found(self) -> bool:
        """Tells whether there is a load that was carried below one that was not."""
        is_at_one = self._is_whole and self.saturated == 1
        return is_at_one or (self.saturated is not None and self._carried is not None)

    def _between(self) -> list[float]:
        """Returns what is left of the loads, evenly on a log scale, rising."""
        num = self._most - len(self.seen)
        if self.saturated is None or self._carried is None:
            return []
        ratio = self.saturated / self._carried
        places = [self._carried * ratio ** (step / (num + 1)) for step in range(1, num + 1)]
        loads = [float(round(each)) if self._is_whole else float(f"{each:.4g}") for each in places]
        return [each for each in dict.fromkeys(loads) if each not in self.seen]
