"""An excerpt says what metrics.json says, and where it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import excerpt as script
from benchmarks import results
from suite.judging.metrics_file import measure, measure_run
from suite.playing.runner import run
from suite.playing.workload import load_workload
from suite.records.run_directory import Manifest
from suite.sweep.run_cell import NoObserver

ENGINE = {"kind": "simulated", "profile": "a10-llama3-8b", "kv_tokens": 1024, "swap_tokens": 20480}
CITED = {"source": "a paper", "engine": "new", "metrics": ["ttft.p50"], "times_better": {"low": 2}}
WORKLOAD: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "model": "llama-3-8b",
    "conversations": {
        "source": "fixed",
        "count": 12,
        "turns": 2,
        "prompt_tokens": 60,
        "output_tokens": 16,
    },
    "arrivals": {"process": "constant", "rate": 20.0},
    "users": {"one": {"share": 1.0, "slo": {"ttft": "1s", "tbt": "200ms", "attainment": 0.9}}},
    "priorities": {"pattern": "random", "levels": 4, "update_frequency": 0.25},
    "engines": {
        "old": {**ENGINE, "preset": "vllm-0.3"},
        "new": {**ENGINE, "preset": "fastswitch"},
    },
    "baseline": "old",
    "references": [CITED],
    "gates": ["counts.failed <= 0"],
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("excerpt")
    path = folder / "w.yaml"
    path.write_text(yaml.safe_dump(WORKLOAD, sort_keys=False))
    workload = load_workload(path)
    return run(workload, root=folder, num_workers=1, observer=NoObserver()).directory


def test_the_numbers_are_those_of_metrics_json(played: Path) -> None:
    found, metrics = script.excerpt(measure_run(played)), measure(played)
    assert found["references"] == metrics["references"] != []
    assert found["gates"] == metrics["gates"] != []
    assert list(found["engines"]) == ["old", "new"]
    for name, engine in found["engines"].items():
        whole = metrics["engines"][name]
        assert engine["counts"] == {"planned": 24, "recorded": 24, "failed": 0, "lost": 0}
        assert engine["warnings"] == whole["warnings"] != []
        assert list(engine["metrics"]) == list(script.METRICS)
        ttft = engine["metrics"]["ttft.p50"]
        assert ttft["value"] == whole["ttft_s"]["p50"]
        assert ttft["interval"] == whole["ttft_s"]["interval"]["p50"]
        assert engine["metrics"]["ttft.p999"] == {
            "value": None,
            "interval": None,
            "reason": "needs at least 1,000 samples, has 24",
        }


def test_factors_are_the_comparison_s_ratios_turned_so_that_more_is_better(played: Path) -> None:
    found, metrics = script.excerpt(measure_run(played)), measure(played)
    assert all("times_better" not in each for each in found["engines"]["old"]["metrics"].values())
    factors = found["engines"]["new"]["metrics"]
    compared = {each["metric"]: each for each in metrics["comparisons"]["new"]}
    ttft, tokens = compared["ttft.p50"], compared["throughput.output_tokens_per_s"]
    assert factors["ttft.p50"]["times_better"] == pytest.approx(1 / ttft["ratio"])
    low, high = factors["ttft.p50"]["times_interval"]
    assert [1 / high, 1 / low] == pytest.approx(ttft["interval"])
    assert factors["throughput.output_tokens_per_s"]["times_better"] == tokens["ratio"]


def test_the_file_names_the_commit_and_the_machine_of_the_run(
    played: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = Manifest.read(played)
    elsewhere = manifest.model_copy(
        update={"commit": "of the run", "machine": {"cpu_model": "another"}}
    )
    elsewhere.write(played)
    monkeypatch.setattr(results, "DIRECTORY", tmp_path)
    monkeypatch.setattr("sys.argv", ["excerpt", str(played), "--name", "tiny", "--remark", "why"])
    try:
        script.main()
    finally:
        manifest.write(played)
    written = json.loads((tmp_path / "tiny.json").read_text())
    assert (written["commit"], written["machine"]) == ("of the run", {"cpu_model": "another"})
    assert (written["benchmark"], written["remark"]) == ("tiny", "why")
    settings = written["settings"]
    assert settings["plan_digest"] == manifest.plan_digest
    assert settings["workload"]["arrivals"] == {"process": "constant", "rate": 20.0}
    assert settings["engines"]["new"]["allocator"] == "block_group", "presets are resolved"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["old", "new"]


def test_what_is_no_run_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["excerpt", str(tmp_path), "--name", "x"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    assert "manifest.json is missing" in capsys.readouterr().err.splitlines()[-1]
