"""Sweeps of a simulated workload: the same over any number of processes, resumed, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from suite.judging.metrics_file import measure
from suite.sweep import run_cell as run_cell_module
from suite.sweep.cells import SweepCell
from suite.sweep.directory import SweepDirectory, create, resume
from suite.sweep.executors import OneAfterAnother, OverCores
from suite.sweep.manifest import SweepManifest
from suite.sweep.run_cell import ERROR_FILE, CellResult, NoObserver
from suite.sweep.summary import engine_row
from tests.suite.sweep.examples import MATRIX, sweep_of
from workloads.errors import InputError
from workloads.spec import spec_of


def new_sweep(folder: Path, **changes: Any) -> tuple[SweepDirectory, tuple[SweepCell, ...]]:
    folder.mkdir()
    source, matrix, cells = sweep_of(folder, **changes)
    spec = spec_of(matrix.cells[0].source)
    return create(folder, kind="sweep", source=source, spec=spec, axes=matrix.axes), cells


def run(sweep: SweepDirectory, cells: tuple[SweepCell, ...], num_jobs: int = 1) -> list[CellResult]:
    results: list[CellResult] = []
    sweep.run(cells, OverCores(num_jobs), results.append)
    sweep.write_summary()
    return results


def turns(sweep: SweepDirectory) -> dict[str, Any]:
    paths = sorted(sweep.path.glob("cells/*/*/1/turns.parquet"))
    return {str(path.relative_to(sweep.path)): pq.read_table(path).to_pydict() for path in paths}


def test_one_process_and_two_give_the_same_records_and_rows(tmp_path: Path) -> None:
    (one, cells), (two, _) = new_sweep(tmp_path / "one"), new_sweep(tmp_path / "two")
    run(one, cells, 1)
    run(two, cells, 2)
    assert len(turns(one)) == 8 and turns(one) == turns(two)
    assert one.manifest.rows == two.manifest.rows
    table = pq.read_table(one.path / "sweep.parquet")
    assert table.to_pylist() == one.manifest.rows
    assert [(row["arrivals.rate"], row["seed"], row["engine"]) for row in table.to_pylist()] == [
        (rate, seed, engine)
        for rate in MATRIX["arrivals.rate"]
        for seed in MATRIX["seed"]
        for engine in ("vllm-0.3", "fastswitch")
    ]


def test_every_cell_is_a_run_directory_and_its_numbers_are_the_rows(tmp_path: Path) -> None:
    sweep, cells = new_sweep(tmp_path / "s", matrix={"seed": [1]})
    run(sweep, cells)
    metrics = measure(sweep.directory_of("seed=1"))
    row = sweep.manifest.rows[1]
    assert row["engine"] == "fastswitch" and row["status"] == "complete"
    numbers = metrics["engines"]["fastswitch"]
    assert row["ttft_p50_s"] == numbers["ttft_s"]["p50"]
    assert [row["ttft_p50_s_low"], row["ttft_p50_s_high"]] == numbers["ttft_s"]["interval"]["p50"]
    assert row["users_within_slo_ratio"] == numbers["slo"]["users_within_slo_ratio"]
    assert row["ttft_p99_s"] is None  # 16 turns


def test_a_row_holds_the_interval_and_the_overload_mark_where_they_are_given() -> None:
    numbers = {
        "status": "complete",
        "slo": {"users_within_slo_ratio": 0.5, "interval": {"users_within_slo_ratio": [0.4, 0.6]}},
        "steady_state": {"is_overloaded": True},
        "context_switch": None,
    }
    row = engine_row(numbers)
    assert (row["users_within_slo_ratio_low"], row["users_within_slo_ratio_high"]) == (0.4, 0.6)
    assert row["is_overloaded"] is True and row["num_preemptions"] is None


def test_a_cell_that_fails_ends_nothing_and_alone_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, cells = new_sweep(tmp_path / "s")
    run_in = run_cell_module.run_in

    def failing(directory: Path, workload: Any, **others: Any) -> Any:
        if directory.name == "rate=2.0,seed=4":
            raise ZeroDivisionError("planted\nin two lines")
        return run_in(directory, workload, **others)

    monkeypatch.setattr(run_cell_module, "run_in", failing)
    assert len(run(sweep, cells)) == 4
    entries = {entry.name: entry for entry in SweepManifest.read(sweep.path).cells}
    assert entries["rate=2.0,seed=4"].status == "failed"
    assert entries["rate=2.0,seed=4"].note == "ZeroDivisionError: planted"
    error = sweep.directory_of("rate=2.0,seed=4") / ERROR_FILE
    assert "in two lines" in error.read_text()
    assert len(sweep.manifest.rows) == 6
    monkeypatch.undo()
    _, matrix, cells = sweep_of(tmp_path)
    again = resume(sweep.path, kind="sweep", axes=matrix.axes, cells=cells)
    assert [result.name for result in run(again, cells)] == ["rate=2.0,seed=4"]
    assert {entry.status for entry in SweepManifest.read(sweep.path).cells} == {"complete"}
    assert (sweep.path / "set-aside" / "rate=2.0,seed=4-1" / ERROR_FILE).is_file()
    assert len(again.manifest.rows) == 8


def test_a_cell_cut_off_while_it_ran_is_run_again(tmp_path: Path) -> None:
    sweep, cells = new_sweep(tmp_path / "s")
    run(sweep, cells)
    directory = sweep.directory_of("rate=8.0,seed=3")
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["parts"].pop()
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (sweep.directory_of("rate=8.0,seed=4") / "metrics.json").unlink()
    before = turns(sweep)
    names = [result.name for result in run(sweep, cells)]
    assert names == ["rate=8.0,seed=3", "rate=8.0,seed=4"]
    assert turns(sweep) == before


def test_a_resumed_sweep_may_grow_but_not_change(tmp_path: Path) -> None:
    sweep, cells = new_sweep(tmp_path / "s", matrix={"seed": [1]})
    run(sweep, cells)

    def resumed(**changes: Any) -> list[str]:
        _, matrix, cells = sweep_of(tmp_path, **changes)
        again = resume(sweep.path, kind="sweep", axes=matrix.axes, cells=cells)
        return [result.name for result in run(again, cells)]

    assert resumed(matrix={"seed": [1]}) == []
    users = {"all": {"share": 1.0, "slo": {"ttft": "1s", "tbt": "1s", "attainment": 1.0}}}
    with pytest.raises(InputError, match=r"cell seed=1 was run with plan [0-9a-f]{12}, now it"):
        resumed(matrix={"seed": [1]}, users=users)
    with pytest.raises(InputError, match=r"cell seed=1 was run with baseline 'vllm-0.3', now it"):
        resumed(matrix={"seed": [1]}, baseline="fastswitch")
    assert resumed(matrix={"seed": [1, 2]}) == ["seed=2"]
    with pytest.raises(InputError, match=r"holds cells that the matrix has not, e\.g\. seed=1;"):
        resumed(matrix={"seed": [2]})
    with pytest.raises(InputError, match="is of a sweep, not of a capacity"):
        resume(sweep.path, kind="capacity", axes=(), cells=())
    with pytest.raises(InputError, match="is not a sweep's directory"):
        resume(tmp_path, kind="sweep", axes=(), cells=())


def test_ctrl_c_keeps_what_has_ended(tmp_path: Path) -> None:
    sweep, cells = new_sweep(tmp_path / "s")

    def stop_at_second(result: CellResult) -> None:
        if result.name == "rate=2.0,seed=4":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run(cells, OverCores(1), stop_at_second)
    statuses = [entry.status for entry in SweepManifest.read(sweep.path).cells]
    assert statuses == ["complete", "complete", "pending", "pending"]


class Watch(NoObserver):
    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_cells_in_wall_time_run_one_after_another_in_order(tmp_path: Path) -> None:
    sweep, cells = new_sweep(tmp_path / "s")
    results: list[CellResult] = []
    sweep.run(cells, OneAfterAnother(1, watch=lambda _: Watch()), results.append)
    assert [result.name for result in results] == [cell.name for cell in cells]
