"""The page of a sweep and of a search for capacity."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.pages.capacity import write_capacity
from reports.pages.sweep import write_sweep
from suite.sweep.capacity_result import CapacityResult, SeedCapacity, engine_capacities
from suite.sweep.manifest import AxisEntry, CellEntry, SweepManifest
from tests.reports.pages.test_html import Page
from tests.reports.pages.test_pages import citing_run
from tests.reports.synthetic_run import FAST, make_plan, write_run
from workloads.errors import InputError

PLAN = make_plan(num_conversations=6)


def manifest_of(axes: Mapping[str, Sequence[Any]], **changes: Any) -> SweepManifest:
    """Every combination of the axes is a cell, named by its number."""
    cells = [
        CellEntry(name=str(number), values=dict(zip(axes, values, strict=True)), plan_digest="0")
        for number, values in enumerate(itertools.product(*axes.values()))
    ]
    entries = [
        AxisEntry(key=key, label=key.rpartition(".")[2], values=list(values))
        for key, values in axes.items()
    ]
    settled = {"kind": "sweep", "name": "s", "created_at": "", "workload": {}, "baseline": None}
    return SweepManifest(
        **{**settled, **changes}, axes=entries, cells=cells, versions={}, machine={}
    )


def runs_of(manifest: SweepManifest, run: Path) -> dict[str, Path]:
    """What the page says of its cells is the manifest's, so that one run serves for all."""
    return {cell.name: run for cell in manifest.cells}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), {"mine": FAST}, plan=PLAN, repeats=1)


def page_of(manifest: SweepManifest, run: Path, path: Path) -> Page:
    return Page(write_sweep(manifest, runs_of(manifest, run), path).read_text())


def test_a_sweep_has_its_setting_across_and_every_run_in_it(run: Path, tmp_path: Path) -> None:
    page = page_of(manifest_of({"arrivals.rate": [4.0, 1.0], "seed": [1, 2]}), run, tmp_path / "s")
    assert "Users within SLO against arrivals.rate" in page.text
    axis = page.figures["sweep-users"]["layout"]["xaxis"]
    assert axis["ticktext"] == ["1", "4"]
    assert {"sweep-users", "sweep-tokens", "sweep-pareto"} <= set(page.figures)
    assert "90 % of the users within SLO, by arrivals.rate, conversations/s: mine at " in page.text
    assert run.name in page.text


def test_a_setting_of_every_engine_is_one_setting(run: Path, tmp_path: Path) -> None:
    page = page_of(manifest_of({"engines.*.kv_tokens": [1024, 2048]}), run, tmp_path / "s")
    assert page.figures["sweep-users"]["layout"]["xaxis"]["ticktext"] == ["1024", "2048"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.657516232, 1.15, 2500.5], ["0.6575", "1.15", "2500.5"]),
        ([0.123411, 0.123412, 0.5], ["0.123411", "0.123412", "0.5"]),
    ],
)
def test_a_value_is_short_where_that_tells_it_from_others(
    run: Path, tmp_path: Path, values: list[float], labels: list[str]
) -> None:
    page = page_of(manifest_of({"arrivals.rate": values}), run, tmp_path / "s")
    assert page.figures["sweep-users"]["layout"]["xaxis"]["ticktext"] == labels


def test_a_second_setting_is_a_row_of_figures_on_the_same_axes(run: Path, tmp_path: Path) -> None:
    axes = {"priorities.levels": [2, 4, 8], "arrivals.rate": [1, 2.0]}
    page = page_of(manifest_of(axes), run, tmp_path / "s")
    names = [name for name in page.figures if name.startswith("sweep-tbt-")]
    assert names == ["sweep-tbt-0", "sweep-tbt-1", "sweep-tbt-2"]
    layouts = [page.figures[name]["layout"] for name in names]
    assert {tuple(each["yaxis"]["range"]) for each in layouts} == {
        tuple(layouts[0]["yaxis"]["range"])
    }
    assert all(each["xaxis"]["ticktext"] == ["1", "2"] for each in layouts)  # the load is across
    assert "levels 4" in page.text and "arrivals.rate 2" in page.text


def test_what_can_not_be_drawn_is_refused_with_its_reason(run: Path, tmp_path: Path) -> None:
    seeds = manifest_of({"seed": [1, 2], "arrivals.rate": [1.0]})
    with pytest.raises(InputError, match="no setting beside the seed has two values"):
        write_sweep(seeds, runs_of(seeds, run), tmp_path / "s")
    many = manifest_of({"arrivals.rate": [1, 2], "a": [1, 2, 3, 4], "b": [1, 2, 3, 4]})
    with pytest.raises(InputError, match=r"a, b have 16 combinations .* sweep\.parquet has all"):
        write_sweep(many, runs_of(many, run), tmp_path / "s")


def test_a_search_for_capacity_says_what_each_engine_carries(run: Path, tmp_path: Path) -> None:
    rates = [1.0 * 1.3**power for power in range(11)]
    seeds = [SeedCapacity(seed=7, rate=1.3, next_rate=1.69)]
    found = CapacityResult(
        name="load",
        target_ratio=0.95,
        tolerance_ratio=0.3,
        num_conversations=6,
        baseline=None,
        engines=engine_capacities({"mine": seeds}, None),
    )
    manifest = manifest_of({"arrivals.rate": rates, "seed": [7]}, kind="capacity")
    page = Page(write_capacity(manifest, runs_of(manifest, run), tmp_path / "s", found).read_text())
    assert (
        "Conversations a second carried with 95 % of the users within SLO: mine 1.3." in page.text
    )
    assert "1.3 held, 1.69 did not" in page.text
    axis = page.figures["sweep-users"]["layout"]["xaxis"]
    assert axis["type"] == "log" and "log scale" in axis["title"]["text"]


def test_a_search_that_found_no_bound_says_so_in_words(run: Path, tmp_path: Path) -> None:
    seeds = [
        SeedCapacity(seed=7, rate=1.3, next_rate=None, note="1.3 or more"),
        SeedCapacity(seed=8, rate=None, next_rate=0.1, note="less than 0.1"),
    ]
    found = CapacityResult(
        name="load",
        target_ratio=0.9,
        tolerance_ratio=0.3,
        num_conversations=6,
        baseline=None,
        engines=engine_capacities({"mine": seeds}, None),
    )
    manifest = manifest_of({"arrivals.rate": [0.1, 1.3], "seed": [7]}, kind="capacity")
    path = write_capacity(manifest, runs_of(manifest, run), tmp_path / "s", found)
    text = Page(path.read_text()).text
    assert "users within SLO: mine not found." in text
    assert "1.3 held, nothing higher was tried; none held, 0.1 did not" in text
    assert "fsbench capacity" in text


def test_a_warning_of_every_run_stands_once(tmp_path: Path) -> None:
    failing = replace(FAST, fail_ratio=1.0)
    run = write_run(tmp_path, {"mine": failing}, plan=PLAN, repeats=1)
    page = page_of(manifest_of({"arrivals.rate": [1, 2]}), run, tmp_path / "s")
    assert page.text.count("turns failed; they miss their SLO") == 1
    assert "every run" in page.text


def test_a_sweep_draws_the_published_band_along_its_setting(tmp_path: Path) -> None:
    manifest = manifest_of({"arrivals.rate": [1.0, 2.0]})
    page = page_of(manifest, citing_run(tmp_path), tmp_path / "s")
    assert {"cited-0", "cited-1"} <= set(page.figures)
    (band,) = [each for each in page.figures["cited-0"]["layout"]["shapes"] if "fillcolor" in each]
    assert (band["y0"], band["y1"]) == (1.4, 5.8)
    assert "published (A paper, their GPU)" in page.text and "arrivals.rate 2" in page.text
