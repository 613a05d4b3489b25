"""A search in wall time: a real server and driver, rates that end when they have decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from suite.playing.workload import resolve_workload
from suite.records.run_directory import Manifest
from suite.sweep.budget import Budget
from suite.sweep.capacity_display import CapacityDisplay
from suite.sweep.capacity_request import CapacityRequest
from suite.sweep.capacity_result import CapacityResult
from suite.sweep.capacity_search import CapacitySearch
from suite.sweep.directory import create, resume
from suite.sweep.rates_one_by_one import RatesOneByOne
from suite.sweep.run_cell import CellResult
from tests.suite.sweep.examples import ENGINE, source_of
from workloads.source import WorkloadSource

TARGET, NUM_USERS = 0.5, 300
# 4 a second are nothing to this engine, 256 far more than it can answer.
REQUEST = CapacityRequest(
    target_ratio=TARGET, num_seeds=1, tolerance_ratio=1.0, low=4.0, high=256.0, num_users=NUM_USERS
)
ONE_AT_A_TIME = {**ENGINE, "time": "wall", "preset": "fastswitch", "speed": 8, "max_num_seqs": 1}
CHANGES: dict[str, Any] = {
    "conversations": {
        "source": "fixed",
        "count": 6,
        "turns": 1,
        "prompt_tokens": 40,
        "output_tokens": 6,
    },
    "users": {"all": {"share": 1.0, "slo": {"ttft": "400ms", "tbt": "2s", "attainment": 1.0}}},
    "engines": {"slow": ONE_AT_A_TIME},
    "baseline": None,
}


def search(
    source: WorkloadSource, folder: Path, budget: Budget
) -> tuple[CapacityResult, list[CellResult]]:
    workload = resolve_workload(source)
    found = CapacitySearch(source, workload, REQUEST, budget)
    display = CapacityDisplay("tiny", list(workload.engines), TARGET, budget)
    executor = RatesOneByOne(looks=found.looks, budget=budget, display=display)
    results: list[CellResult] = []

    def on_cell(result: CellResult) -> None:
        results.append(result)
        display.on_cell(result)

    result = found.run(
        resume(folder, kind="capacity", axes=(), cells=()),
        executor,
        on_cell=on_cell,
        expect=lambda _: None,
        on_bracket=display.on_bracket,
    )
    return result, results


@pytest.fixture
def source(tmp_path: Path) -> WorkloadSource:
    source = source_of(tmp_path, **CHANGES)
    create(tmp_path, kind="capacity", source=source, spec=resolve_workload(source).spec, axes=())
    return source


def test_rates_end_when_they_have_decided_and_are_not_played_again(
    source: WorkloadSource, tmp_path: Path
) -> None:
    found, results = search(source, tmp_path, Budget(None))
    (engine,) = found.engines
    assert engine.rate is not None and engine.interval is not None
    by_rate = {each.rate: each for each in engine.rates}
    assert [each.rate for each in engine.rates] == sorted(by_rate)
    low, high = engine.interval
    assert low == pytest.approx(engine.rate)
    assert by_rate[round(low)].answer == "holds" and by_rate[round(high)].answer == "fails"
    for each in engine.rates:
        if each.answer == "holds":
            assert each.interval[0] > TARGET
        if each.answer == "fails":
            assert each.interval[1] < TARGET and each.limits.num_missed > 0
    trials = [
        Manifest.read(tmp_path / "cells" / result.name).trials[0]
        for result in results
        if result.status == "complete"
    ]
    assert len(trials) == len(results) == len(engine.rates)
    assert any(trial.counts.not_due for trial in trials)
    assert all(not trial.counts.failed for trial in trials)

    again, played = search(source, tmp_path, Budget(None))
    assert again == found and played == []
    assert CapacityResult.read(tmp_path) is None
    found.write(tmp_path)
    assert CapacityResult.read(tmp_path) == found


def test_when_the_time_is_up_what_is_known_is_said_and_the_rest_is_left(
    source: WorkloadSource, tmp_path: Path
) -> None:
    found, results = search(source, tmp_path, Budget(1e-9))
    (engine,) = found.engines
    assert results == [] and engine.rate is None and engine.rates == []
    assert engine.note == (
        "of no rate it could be told whether the target holds; the budget was used up; go on with "
        "--resume"
    )
    cells = json.loads((tmp_path / "sweep.json").read_text())["cells"]
    assert [cell["status"] for cell in cells] == ["pending"]
