"""What a sweep and a capacity search say in a terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from reports.text.sweep_tables import show_capacity, show_sweep
from suite.sweep.capacity_result import CapacityResult, RateSeen, SeedCapacity, engine_capacities
from suite.sweep.manifest import AxisEntry, CellEntry, SweepManifest
from suite.sweep.summary import engine_row


def printed(show: Any, *arguments: Any) -> str:
    console = Console(file=StringIO(), width=100)
    show(*arguments, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def row(seed: int, share: float, *, is_overloaded: bool) -> dict[str, Any]:
    numbers = {
        "status": "complete",
        "slo": {"users_within_slo_ratio": share},
        "ttft_s": {"p99": 1.5},
        "fairness": {"longest_gap_s": 3.0, "longest_wait_s": 4.0},
        "steady_state": {"is_overloaded": is_overloaded},
    }
    return {"cell": f"seed={seed}", "engine": "mine", "seed": seed, **engine_row(numbers)}


def test_a_sweeps_table_names_what_failed_and_marks_overload() -> None:
    cells = [
        CellEntry(name=f"seed={seed}", values={"seed": seed}, plan_digest="d", status="complete")
        for seed in (1, 2)
    ]
    lost = CellEntry(
        name="seed=3", values={"seed": 3}, plan_digest="d", status="failed", note="killed"
    )
    manifest = SweepManifest(
        kind="sweep",
        name="w",
        created_at="2026-01-01T00:00:00+00:00",
        workload={},
        baseline=None,
        axes=[AxisEntry(key="seed", label="seed", values=[1, 2, 3])],
        cells=[*cells, lost],
        versions={},
        machine={},
        rows=[row(1, 0.9, is_overloaded=False), row(2, 0.25, is_overloaded=True)],
    )
    lines = printed(show_sweep, manifest, Path("s")).splitlines()
    assert lines[0] == "! seed=3 failed: killed"
    assert lines[1].split() == ["seed", "mine"]
    assert " ".join(lines[2].split()) == "1 90 % · 1.5 s · – · 3 s · 4 s"
    assert " ".join(lines[3].split()) == "2 25 % · 1.5 s · – · 3 s · 4 s ↑"
    assert lines[-1] == "rows: s/sweep.parquet"


def test_a_capacity_table_has_the_ratio_to_the_baseline_and_says_what_is_unknown() -> None:
    def seeds(*rates: float | None) -> list[SeedCapacity]:
        return [
            SeedCapacity(
                seed=i, rate=each, next_rate=each and each * 1.1, note=None if each else "no"
            )
            for i, each in enumerate(rates)
        ]

    found = {"base": seeds(1.0, 1.0), "mine": seeds(2.0, 2.0), "lost": seeds(None, 1.0)}
    result = CapacityResult(
        name="w",
        target_ratio=0.9,
        tolerance_ratio=0.1,
        num_conversations=10,
        baseline="base",
        engines=engine_capacities(found, "base"),
    )
    assert not result.is_complete
    lines = printed(show_capacity, result, Path("c.json")).splitlines()
    assert lines[0].endswith("of the users within SLO; 10 conversations, 2 seeds")
    played = result.engines[0].model_copy(update={"rates": [RateSeen.model_construct(rate=1.0)]})
    of_wall_time = result.model_copy(update={"engines": [played]})  # `count` has no say there
    line = printed(show_capacity, of_wall_time, Path("c.json")).splitlines()[0]
    assert line.endswith("of the users within SLO")
    assert lines[2].split() == ["base", "1", "1", "–", "1.1", "–", "–"]
    assert lines[3].split() == ["mine", "2", "2", "–", "2.2", "2×", "1.82", "–", "2.2"]
    assert lines[-2:] == ["! lost seed 0: no", "result: c.json"]
