"""Capacity: the highest arrival rate at which a stated share of users is within SLO, per engine.

Every probe is a cell of a sweep directory: one engine, one seed, one rate of a fixed lattice. So
what has been run for one search serves the next, and a search that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log

from suite.playing.workload import Workload
from suite.sweep.capacity_result import CapacityResult, SeedCapacity, engine_capacities
from suite.sweep.cells import CellLoader, SweepCell
from suite.sweep.crossing import Crossing, find_all, find_crossing
from suite.sweep.directory import OnCell, SweepDirectory
from suite.sweep.executors import Executor
from suite.sweep.manifest import AxisEntry
from workloads.errors import InputError
from workloads.source import WorkloadSource
from workloads.spec_traffic import ConstantArrivals, GammaArrivals, PoissonArrivals
from workloads.yaml_file import Setting

RATE = "arrivals.rate"
WIDEST_FACTOR = 256.0  # how far from the file's rate is looked, either way
ROUNDING = 0.01  # of a place: rates are written with six digits
STRIDE_FACTOR = 1.5  # from one probe to the next until the crossing is passed

EngineSeed = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityRequest:
    target_ratio: float  # of users within SLO, at least
    num_seeds: int  # the workload's and the following ones
    tolerance_ratio: float  # neighbouring rates differ by this
    low: float | None  # conversations per second; None: found
    high: float | None

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


class CapacitySearch:
    """Finds every engine's capacity by running cells of a sweep directory.

    `source` has no matrix, `workload` is what it comes to. Raises InputError where there is no rate
    to search over, or an engine runs in wall time.
    """

    def __init__(
        self, source: WorkloadSource, workload: Workload, request: CapacityRequest
    ) -> None:
        arrivals = workload.spec.arrivals
        if not isinstance(arrivals, PoissonArrivals | GammaArrivals | ConstantArrivals):
            raise InputError(
                f"{source.path}: arrivals.process must be poisson, gamma or constant, which have a "
                f"rate to search over, got {arrivals.process}"
            )
        wall = [name for name, each in workload.engines.items() if not each.is_virtual]
        if wall:
            raise InputError(
                f"{source.path}: engines.{wall[0]} runs in wall time, and a search takes dozens of "
                "runs of every engine; give kind: simulated, or a matrix over arrivals.rate"
            )
        self._source = source
        self._workload = workload
        self._request = request
        self._lattice = Lattice(tolerance_ratio=request.tolerance_ratio)
        self._loader = CellLoader()
        self._low, self._start, self._high = self._bounds(arrivals.rate)

    def run(
        self,
        directory: SweepDirectory,
        executor: Executor,
        *,
        on_cell: OnCell,
        expect: Callable[[int], None],
    ) -> CapacityResult:
        """Runs the cells the search asks for and returns what it found.

        `expect` is told how many cells come next. Raises KeyboardInterrupt, InputError.
        """

        def ask(questions: Sequence[tuple[EngineSeed, int]]) -> list[bool | None]:
            cells = [self._cell(key, place) for key, place in questions]
            expect(sum(not directory.is_complete(each) for each in cells))
            directory.run(cells, executor, on_cell)
            return [
                self._holds(directory, engine, cell)
                for ((engine, _), _), cell in zip(questions, cells, strict=True)
            ]

        stride = self._lattice.steps(STRIDE_FACTOR)
        searches = {
            key: find_crossing(self._start, low=self._low, high=self._high, stride=stride)
            for key in self._keys()
        }
        try:
            found = find_all(searches, ask)
        finally:
            directory.manifest.axes = self._axes(directory)
            directory.write_summary()
        return self._result(found)

    def _keys(self) -> list[EngineSeed]:
        first = self._workload.spec.seed
        seeds = range(first, first + self._request.num_seeds)
        return [(engine, seed) for seed in seeds for engine in self._workload.engines]

    def _bounds(self, rate: float) -> tuple[int, int, int]:
        low, high = self._request.low, self._request.high
        low = rate / WIDEST_FACTOR if low is None else low
        high = rate * WIDEST_FACTOR if high is None else high
        lattice = self._lattice
        first, last = lattice.at_most(low), lattice.at_least(high)
        if first >= last:
            raise InputError(
                f"--low must be less than --high, got {low:g} and {high:g} conversations per second"
            )
        if self._request.low is not None and self._request.high is not None:
            return first, (first + last) // 2, last
        return first, min(max(lattice.at_most(rate), first), last), last

    def _cell(self, key: EngineSeed, place: int) -> SweepCell:
        engine, seed = key
        rate, file = self._lattice.rate(place), str(self._source.path)
        changes: dict[str, object] = {
            RATE: rate,
            "seed": seed,
            "engines": {engine: self._source.raw["engines"][engine]},
            "baseline": None,
            "gates": [],
            "references": [],
        }
        settings = [Setting(key=name, value=value, where=file) for name, value in changes.items()]
        return self._loader.load(
            f"engine={engine},seed={seed},rate={rate!r}",
            {RATE: rate, "seed": seed},
            self._source.having(*settings),
        )

    def _holds(self, directory: SweepDirectory, engine: str, cell: SweepCell) -> bool | None:
        if not directory.is_complete(cell):
            return None
        path = directory.directory_of(cell.name) / "metrics.json"
        slo = json.loads(path.read_text())["engines"][engine]["slo"]
        return bool(slo["users_within_slo_ratio"] >= self._request.target_ratio)

    def _axes(self, directory: SweepDirectory) -> list[AxisEntry]:
        cells = directory.manifest.cells
        return [
            AxisEntry(key=key, label=label, values=sorted({each.values[key] for each in cells}))
            for key, label in ((RATE, "rate"), ("seed", "seed"))
        ]

    def _result(self, found: dict[EngineSeed, Crossing | None]) -> CapacityResult:
        by_engine: dict[str, list[SeedCapacity]] = {name: [] for name in self._workload.engines}
        for (engine, seed), crossing in found.items():
            by_engine[engine].append(self._seed_capacity(seed, crossing))
        baseline = self._workload.spec.baseline
        return CapacityResult(
            name=self._workload.spec.name,
            target_ratio=self._request.target_ratio,
            tolerance_ratio=self._request.tolerance_ratio,
            num_conversations=len(self._workload.plan.conversations),
            baseline=baseline,
            engines=engine_capacities(by_engine, baseline),
        )

    def _seed_capacity(self, seed: int, crossing: Crossing | None) -> SeedCapacity:
        if crossing is None:
            why = "a cell could not be completed"
            return SeedCapacity(seed=seed, rate=None, next_rate=None, note=why)
        rate, next_rate = (
            None if place is None else self._lattice.rate(place)
            for place in (crossing.holds, crossing.fails)
        )
        note: str | None = None
        if rate is None:
            note = f"not even {next_rate:g} conversations per second"
        elif next_rate is None:
            note = f"{rate:g} conversations per second or more"
        return SeedCapacity(seed=seed, rate=rate, next_rate=next_rate, note=note)
