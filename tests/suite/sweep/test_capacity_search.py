"""The capacity of engines: intervals by hand, and a search over real simulated cells."""

from __future__ import annotations

from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from suite.playing.workload import resolve_workload
from suite.sweep.capacity_request import CapacityRequest
from suite.sweep.capacity_result import CapacityResult, SeedCapacity, engine_capacities
from suite.sweep.capacity_search import CapacitySearch
from suite.sweep.directory import create, resume
from suite.sweep.executors import OverCores
from suite.sweep.lattice import Lattice
from suite.sweep.rate_judges import shows_after_s
from suite.sweep.run_cell import CellResult
from tests.suite.sweep.examples import ENGINE, source_of
from workloads.errors import InputError
from workloads.plan_parts import Slo, UserClass
from workloads.source import WorkloadSource


def request(**changes: Any) -> CapacityRequest:
    usual: dict[str, Any] = {"target_ratio": 0.9, "num_seeds": 1, "tolerance_ratio": 0.5}
    return CapacityRequest(**{**usual, "low": None, "high": None, **changes})


def search_of(source: WorkloadSource, **changes: Any) -> CapacitySearch:
    return CapacitySearch(source, resolve_workload(source), request(**changes))


def seeds(*rates: float, step: float = 1.0) -> list[SeedCapacity]:
    return [SeedCapacity(seed=i, rate=r, next_rate=r * step) for i, r in enumerate(rates)]


def test_rates_are_averaged_as_logs_with_students_interval_and_paired_ratios() -> None:
    base, better = engine_capacities({"a": seeds(1, 2, 4), "b": seeds(3, 6, 12)}, "a")
    half = stats.t.ppf(0.975, 2) * log(2) / sqrt(3)
    assert base.rate == pytest.approx(2) and base.ratio is None
    assert base.interval == pytest.approx((2 / exp(half), 2 * exp(half)))
    assert better.ratio == pytest.approx(3)
    assert better.ratio_interval == pytest.approx((3, 3))  # three times as much for every seed


def test_an_interval_holds_the_step_between_two_rates() -> None:
    found = {"a": seeds(2, 2, step=1.1), "b": seeds(4, 4, step=1.1)}
    base, better = engine_capacities(found, "a")
    assert base.interval == pytest.approx((2, 2.2))
    assert better.ratio_interval == pytest.approx((2 / 1.1, 2 * 1.1))


def test_a_seed_whose_capacity_is_unknown_leaves_the_engine_without() -> None:
    unknown = SeedCapacity(seed=5, rate=None, next_rate=0.1, note="not even 0.1")
    base, better = engine_capacities({"a": [unknown], "b": seeds(4)}, "a")
    assert base.rate is None and base.note == "seed 5: not even 0.1"
    assert better.ratio is None and better.rate == pytest.approx(4) and better.interval is None


def test_the_lattice_is_the_same_from_everywhere() -> None:
    lattice = Lattice(tolerance_ratio=0.05)
    for place in (-40, -1, 0, 1, 77):
        rate = lattice.rate(place)
        assert lattice.at_most(rate) == lattice.at_least(rate) == place
    assert lattice.rate(lattice.at_most(0.2)) <= 0.2 < lattice.rate(lattice.at_most(0.2) + 1)


def test_a_search_brackets_the_crossing_and_its_cells_serve_the_next(tmp_path: Path) -> None:
    engines = {"fastswitch": {**ENGINE, "preset": "fastswitch"}}
    source = source_of(tmp_path, engines=engines, baseline=None)
    spec = resolve_workload(source).spec
    sweep = create(tmp_path, kind="capacity", source=source, spec=spec, axes=())
    results: list[CellResult] = []
    expected: list[int] = []

    def run(**changes: Any) -> CapacityResult:
        again = resume(tmp_path, kind="capacity", axes=(), cells=())
        return search_of(source, low=0.1, high=100.0, **changes).run(
            again, OverCores(1), on_cell=results.append, expect=expected.append
        )

    found = run()
    (engine,) = found.engines
    (seed,) = engine.seeds
    assert seed.rate is not None and seed.next_rate == pytest.approx(1.5 * seed.rate, rel=1e-4)
    rows = resume(tmp_path, kind="capacity", axes=(), cells=()).manifest.rows
    shares = {row["arrivals.rate"]: row["users_within_slo_ratio"] for row in rows}
    assert shares[seed.rate] >= 0.9 > shares[seed.next_rate]
    assert len(results) == len(shares) == sum(expected)
    num_cells = len(results)
    assert run() == found and len(results) == num_cells
    stricter = run(target_ratio=1.0).engines[0].rate
    assert stricter is not None and engine.rate is not None and stricter <= engine.rate
    assert sweep.path == tmp_path


def test_what_has_no_rate_is_refused(tmp_path: Path) -> None:
    arrivals = {"process": "closed", "concurrency": 2}
    with pytest.raises(InputError, match=r"arrivals\.process must be poisson"):
        search_of(source_of(tmp_path, arrivals=arrivals))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"target_ratio": 1.0}, "--target must be below 1 for engines in wall time"),
        ({"num_users": 105}, "--users must be at least 106 for --target 0.9: .*, got 105"),
    ],
)
def test_in_wall_time_what_no_number_of_users_could_show_is_refused(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    wall = {"engines": {"e": {**ENGINE, "time": "wall"}}, "baseline": None}
    with pytest.raises(InputError, match=problem):
        search_of(source_of(tmp_path, **wall), **changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"target_ratio": 0.0}, r"--target must be a share in \(0, 1\], got 0"),
        ({"tolerance_ratio": 5.0}, "--tolerance must be 0.001 to 1, got 5"),
        ({"low": 0.0}, "--low must be > 0, got 0"),
        ({"low": 2.0, "high": 1.0}, "--low must be less than --high, got 2 and 1"),
    ],
)
def test_requests_that_can_not_be_searched_are_refused(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        search_of(source_of(tmp_path), **changes)


def test_in_wall_time_a_trace_that_is_too_short_to_tell_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{second}.0,40,6\n" for second in range(20))
    (tmp_path / "t.csv").write_text("t_s,context_tokens,generated_tokens\n" + rows)
    wall = {"engines": {"e": {**ENGINE, "time": "wall"}}, "baseline": None}
    trace = {"trace": "azure", "path": "t.csv"}
    with pytest.raises(InputError, match=r"the trace has 20, and to show at 2 a second .* takes"):
        search_of(source_of(tmp_path, **wall, conversations=trace), tolerance_ratio=0.1)


def test_a_rate_is_seen_for_longer_the_looser_the_promise_and_the_finer_the_step() -> None:
    def classes(*shares_and_ttft_s: tuple[float, float]) -> list[UserClass]:
        return [
            UserClass(
                name=str(number),
                share_ratio=share,
                slo=Slo(ttft_s=ttft_s, tbt_s=1, tbt_percentile=0.99, attainment_ratio=0.9),
            )
            for number, (share, ttft_s) in enumerate(shares_and_ttft_s)
        ]

    assert shows_after_s(classes((1.0, 1.0)), 0.9, 0.1) == pytest.approx(120)
    assert shows_after_s(classes((1.0, 1.0)), 0.9, 0.2) == pytest.approx(60)
    loose_and_strict = classes((0.8, 10.0), (0.2, 0.5))
    assert shows_after_s(loose_and_strict, 0.9, 0.1) == pytest.approx(60)
    assert shows_after_s(loose_and_strict, 0.7, 0.1) == pytest.approx(1200)
