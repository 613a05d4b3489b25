"""Capacity: the highest arrival rate at which a stated share of users is within SLO, per engine.

Every probe is a cell of a sweep directory: one engine, one seed, one rate of a fixed lattice. So
what has been run for one search serves the next, and a search that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from suite.playing.workload import Workload
from suite.statistics.sequential import ShareLooks
from suite.sweep.brackets import bracket, seed_capacity
from suite.sweep.budget import Budget
from suite.sweep.capacity_request import CapacityRequest
from suite.sweep.capacity_result import CapacityResult, RateSeen, SeedCapacity, engine_capacities
from suite.sweep.cells import CellLoader, SweepCell
from suite.sweep.crossing import Answer, Crossing, Search, find_all
from suite.sweep.directory import OnCell, SweepDirectory
from suite.sweep.executors import Executor
from suite.sweep.lattice import Lattice
from suite.sweep.manifest import AxisEntry
from suite.sweep.rate_judges import RateJudge, ShareInTheLongRun, ShareOfAPlan
from workloads.errors import InputError
from workloads.source import WorkloadSource
from workloads.spec_traffic import ConstantArrivals, GammaArrivals, PoissonArrivals
from workloads.yaml_file import Setting

RATE = "arrivals.rate"
WIDEST_FACTOR = 256.0  # how far from the file's rate is looked, either way
MAX_FAULTS = 2  # rates of an engine at which the driver or the machine was at fault
STRIDE_FACTOR = 1.5  # from one probe to the next until the crossing is passed

EngineSeed = tuple[str, int]
OnBracket = Callable[[str, float | None, float | None], None]


class CapacitySearch:
    """Finds every engine's capacity by running cells of a sweep directory.

    `source` has no matrix, `workload` is what it comes to. Raises InputError where there is no rate
    to search over.
    """

    def __init__(
        self,
        source: WorkloadSource,
        workload: Workload,
        request: CapacityRequest,
        budget: Budget | None = None,
    ) -> None:
        arrivals = workload.spec.arrivals
        if not isinstance(arrivals, PoissonArrivals | GammaArrivals | ConstantArrivals):
            raise InputError(
                f"{source.path}: arrivals.process must be poisson, gamma or constant, which have a "
                f"rate to search over, got {arrivals.process}"
            )
        self._source = source
        self._workload = workload
        self._request = request
        self._budget = budget or Budget(None)
        self._lattice = Lattice(tolerance_ratio=request.tolerance_ratio)
        self._loader = CellLoader()
        self._asked: dict[str, list[SweepCell]] = {name: [] for name in workload.engines}
        self.judge: RateJudge = (
            ShareOfAPlan(request)
            if workload.is_virtual
            else ShareInTheLongRun(request, workload, arrivals.rate)
        )
        low, start, high = self._bounds(arrivals.rate)
        stride = self._lattice.steps(STRIDE_FACTOR)
        self._searches = {
            key: Search(start, low=low, high=high, stride=stride) for key in self._keys()
        }

    @property
    def target_ratio(self) -> float:
        return self._request.target_ratio

    @property
    def looks(self) -> Callable[[float], ShareLooks]:
        """Returns when the runs of rates in wall time are looked at."""
        assert isinstance(self.judge, ShareInTheLongRun), self.judge
        return self.judge.looks

    def run(
        self,
        directory: SweepDirectory,
        executor: Executor,
        *,
        on_cell: OnCell,
        expect: Callable[[int], None],
        on_bracket: OnBracket = lambda *_: None,
    ) -> CapacityResult:
        """Runs the cells the search asks for and returns what it found.

        `expect` is told how many cells come next, `on_bracket` between which rates an engine's
        capacity lies by now. Raises KeyboardInterrupt, InputError.
        """

        def ask(questions: Sequence[tuple[EngineSeed, int]]) -> list[Answer | None]:
            cells = [self._cell(key, place) for key, place in questions]
            for (key, _), cell in zip(questions, cells, strict=True):
                on_bracket(key[0], *bracket(self._searches[key].crossing, self._lattice))
                self._asked[key[0]].append(cell)
            expect(sum(not directory.is_complete(each) for each in cells))
            self._play(directory, cells, executor, on_cell)
            return [
                self._answer(directory, engine, cell)
                for ((engine, _), _), cell in zip(questions, cells, strict=True)
            ]

        try:
            found = find_all(self._searches, ask)
        finally:
            directory.manifest.axes = self._axes(directory)
            directory.write_summary()
        return self._result(found, directory)

    def _play(
        self,
        directory: SweepDirectory,
        cells: Sequence[SweepCell],
        executor: Executor,
        on_cell: OnCell,
    ) -> None:
        try:
            directory.run(cells, executor, on_cell)
        except KeyboardInterrupt:
            if not self._budget.is_used_up:  # else the search itself has stopped the run
                raise

    def _answer(self, directory: SweepDirectory, engine: str, cell: SweepCell) -> Answer | None:
        if not directory.is_complete(cell) or self._is_at_fault(directory, engine):
            return None
        return self.judge.answer(directory.directory_of(cell.name), engine, cell.values[RATE])

    def _is_at_fault(self, directory: SweepDirectory, engine: str) -> bool:
        """Tells whether at so many rates something else than the engine was the limit that there is
        no use in going on."""
        if self._workload.is_virtual:
            return False
        faults = [each.limits.fault for each in self._seen(engine, directory)]
        return sum(each is not None for each in faults) > MAX_FAULTS

    def _keys(self) -> list[EngineSeed]:
        first = self._workload.spec.seed
        seeds = range(first, first + self.judge.num_seeds)
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
            **self.judge.changes(rate),
        }
        settings = [Setting(key=name, value=value, where=file) for name, value in changes.items()]
        return self._loader.load(
            f"engine={engine},seed={seed},rate={rate!r}",
            {RATE: rate, "seed": seed},
            self._source.having(*settings),
        )

    def _axes(self, directory: SweepDirectory) -> list[AxisEntry]:
        cells = directory.manifest.cells
        return [
            AxisEntry(key=key, label=label, values=sorted({each.values[key] for each in cells}))
            for key, label in ((RATE, "rate"), ("seed", "seed"))
        ]

    def _result(
        self, found: Mapping[EngineSeed, Crossing | None], directory: SweepDirectory
    ) -> CapacityResult:
        by_engine: dict[str, list[SeedCapacity]] = {name: [] for name in self._workload.engines}
        is_wall = not self._workload.is_virtual
        rates = {name: self._seen(name, directory) for name in by_engine} if is_wall else None
        for (engine, seed), crossing in found.items():
            by_engine[engine].append(self._capacity((engine, seed), crossing))
        baseline = self._workload.spec.baseline
        return CapacityResult(
            name=self._workload.spec.name,
            target_ratio=self._request.target_ratio,
            tolerance_ratio=self._request.tolerance_ratio,
            num_conversations=len(self._workload.plan.conversations),
            baseline=baseline,
            engines=engine_capacities(by_engine, baseline, rates),
        )

    def _capacity(self, key: EngineSeed, crossing: Crossing | None) -> SeedCapacity:
        _, seed = key
        if crossing is None and self._workload.is_virtual:
            why = "a cell could not be completed"
            return SeedCapacity(seed=seed, rate=None, next_rate=None, note=why)
        why_open = None if crossing is not None else self._why_open()
        known = crossing or self._searches[key].crossing
        return seed_capacity(seed, known, self._lattice, why_open=why_open)

    def _why_open(self) -> str:
        if self._budget.is_used_up:
            return "the budget was used up; go on with --resume"
        return (
            "a run could not be completed, had no turn that succeeded, or the driver or this "
            "machine was the limit again and again: sweep.json and the rates say which"
        )

    def _seen(self, engine: str, directory: SweepDirectory) -> list[RateSeen]:
        found = [
            self.judge.seen(directory.directory_of(cell.name), engine, cell.values[RATE])
            for cell in self._asked[engine]
        ]
        return sorted((each for each in found if each is not None), key=lambda each: each.rate)
